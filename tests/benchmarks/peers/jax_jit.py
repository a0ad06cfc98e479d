"""JAX: the whole step, update included, as one jitted function that may reuse the parameters' memory."""

import functools

import jax
from jax import numpy as jnp


def make_step(net):
    x, targets = map(jnp.asarray, net.data())
    parameters = [(jnp.asarray(w), jnp.asarray(b)) for w, b in net.layers()]

    def loss_of(parameters, x, targets):
        *hidden, last = parameters
        for w, b in hidden:
            x = jax.nn.relu(x @ w + b)
        w, b = last
        z = x @ w + b
        if net.binary:
            return jnp.mean(jax.nn.softplus(z) - z * targets)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), targets[:, None], 1))

    @functools.partial(jax.jit, donate_argnums=0)
    def update(parameters, x, targets):
        loss, gradients = jax.value_and_grad(loss_of)(parameters, x, targets)
        return jax.tree.map(lambda p, g: p - net.learning_rate * g, parameters, gradients), loss

    def step():
        nonlocal parameters
        parameters, loss = jax.block_until_ready(update(parameters, x, targets))
        return loss

    return step

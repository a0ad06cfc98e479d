"""Whole numbers that are labels, indices and masks: plain arrays, with all that NumPy does with them."""

import numpy as np

import tinygrad_wb as wb
from adversaries.stage import batch, labels, leaf, normal, row, x_and_y


@row(fits=True, way="followed")
def log_probabilities_picked_by_labels(s):
    w, b = leaf(3, 3), leaf(3)

    @s.compiled
    def loss(x, y):
        logp = wb.log_softmax(x @ w + b, axis=1)
        return -wb.mean(logp[np.arange(len(y)), y])

    return s.descends(loss, w, b, given=x_and_y)


@row(fits=True, way="followed")
def one_hot_by_eye(s):
    w = leaf(3, 3)

    @s.compiled
    def loss(x, y):
        return -wb.mean(wb.sum(wb.log_softmax(x @ w, axis=1) * np.eye(3)[y], axis=1))

    return s.descends(loss, w, given=x_and_y)


@row(fits=True)
def one_hot_with_a_fallback(s):
    w = leaf(3, 3)

    @s.compiled
    def loss(x, y):
        try:
            one_hot = np.eye(3)[y]
        except Exception:
            one_hot = y
        return wb.mean((x @ w - one_hot) ** 2)

    return s.descends(loss, w, given=x_and_y)


@row(fits=True, way="followed")
def one_hot_by_writing(s):
    w = leaf(3, 3)

    @s.compiled
    def loss(x, y):
        one_hot = np.zeros((len(y), 3))
        one_hot[np.arange(len(y)), y] = 1.0
        return wb.mean((wb.softmax(x @ w, axis=1) - one_hot) ** 2)

    return s.descends(loss, w, given=x_and_y)


@row(fits=True, way="followed")
def class_weights(s):
    w, weights = leaf(3, 3), np.array([0.2, 1.0, 3.0])

    @s.compiled
    def loss(x, y):
        logp = wb.log_softmax(x @ w, axis=1)
        return -wb.sum(logp[np.arange(len(y)), y] * weights[y]) / weights[y].sum()

    return s.descends(loss, w, given=x_and_y)


@row(fits=True)
def unique_labels_and_counts(s):
    w = leaf(3, 3)

    @s.compiled
    def loss(x, y):
        names, inverse, counts = np.unique(y, return_inverse=True, return_counts=True)
        logp = wb.log_softmax(x @ w, axis=1)
        return -wb.sum(logp[np.arange(len(y)), y] / counts[inverse]) / len(names)

    return s.descends(loss, w, given=x_and_y)


@row(fits=True, way="followed")
def labels_that_are_cast(s):
    w = leaf(3, 3)

    @s.compiled
    def loss(x, y):
        return wb.cross_entropy(x @ w, y.astype(int)) + wb.cross_entropy(x @ w, y.astype("i4").copy())

    return s.descends(loss, w, given=lambda i: (batch(i), labels(i).astype(float)))


@row(fits=True, way="followed")
def comparison_of_labels_as_a_mask(s):
    w = leaf(3)

    @s.compiled
    def loss(x, y):
        h = x @ w
        return wb.mean(wb.where(y == 0, h * h, wb.where(y > 1, wb.absolute(h), 0.0))) + wb.mean(h * (y == 2))

    return s.descends(loss, w, given=x_and_y)


@row(fits=True)
def rows_that_a_mask_picks(s):
    w = leaf(3)

    @s.compiled
    def loss(x, y):
        h = x @ w
        some = y != 1
        return wb.sum(h[some] ** 2) / max(some.sum(), 1) + wb.sum(h[np.flatnonzero(~some)])

    return s.descends(loss, w, given=x_and_y)


@row(fits=True)
def branch_on_labels(s):
    w = leaf(3)

    @s.compiled
    def loss(x, y):
        h = x @ w
        if (y == 0).any():
            return wb.mean(h * h)
        if y.max() == 2 and len(set(y.tolist())) > 1:
            return wb.mean(wb.absolute(h))
        return wb.mean(h)

    return s.descends(loss, w, given=x_and_y)


@row(fits=True)
def sorted_order_of_data(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        order = np.argsort(x[:, 0])
        h = (x @ w)[order]
        return wb.sum((h[1:] - h[:-1]) ** 2)

    return s.descends(loss, w)


@row(fits=True)
def order_of_a_prediction(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = x @ w
        return wb.sum(h[wb.argsort(h)][:2]) + h[h.argmax()] * 2.0 + wb.sum(wb.sort(h) * np.arange(4))

    return s.descends(loss, w)


@row(fits=True, way="followed")
def embedding_of_tokens(s):
    table, w = leaf(5, 3), leaf(3)

    @s.compiled
    def loss(tokens):
        return wb.mean(wb.tanh(table[tokens]) @ w)

    return s.descends(loss, table, w, given=lambda i: (np.random.default_rng(i).integers(0, 5, (4, 6)),))


@row(raises=True)
def tokens_out_of_range(s):
    table = leaf(5, 3)

    @s.compiled
    def loss(tokens):
        return wb.mean(wb.embedding(table, tokens) ** 2)

    return s.descends(loss, table, given=lambda i: (np.array([0, i % 5, 5 if i % 4 == 3 else 1]),))


@row(raises=True)
def labels_out_of_range(s):
    w = leaf(3, 3)

    @s.compiled
    def loss(x, y):
        return wb.cross_entropy(x @ w, y)

    def given(i):
        y = labels(i)
        y[1] = (0, 1, 2, 3, -1)[i % 5]
        return batch(i), y

    return s.descends(loss, w, given=given)


@row(fits=True)
def bad_labels_that_are_caught(s):
    w = leaf(3, 3)

    @s.compiled
    def loss(x, y):
        scores = x @ w
        try:
            return wb.cross_entropy(scores, y)
        except (ValueError, IndexError) as error:
            s.note(error)
            return wb.mean(scores**2)

    def given(i):
        y = labels(i)
        y[1] = 5 if i % 3 == 2 else 1
        return batch(i), y

    return s.descends(loss, w, given=given)


@row
def windows_that_move(s):
    w, data = leaf(3), normal(40, 3)

    @s.compiled
    def loss(start, length):
        h = data[start : start + length] @ w
        return wb.mean(h * h) + h[-1] * h[start % 4]

    return s.descends(loss, w, given=lambda i: (3 * i, 4))


@row
def slices_of_values_that_move(s):
    w = leaf(20)

    @s.compiled
    def loss(i):
        return wb.sum(w[i : i + 4] * 2.0) + w[i] * w[-1 - i] + wb.sum(w[i % 5 :: 3] ** 2)

    return s.descends(loss, w, given=lambda i: (i,))


@row
def whole_numbers_of_arrays_as_indices(s):
    w = leaf(5)

    @s.compiled
    def loss(n):
        k = n[0]
        return w[k] * 2.0 + w[int(n[1])] + wb.sum(w[: n[2]]) + w[np.int8(n[1])]

    return s.descends(loss, w, given=lambda i: (np.array([i % 5, (2 * i) % 5, 1 + i % 4]),))


@row(fits=True)
def lists_of_labels(s):
    w = leaf(3, 3)

    @s.compiled
    def loss(x, y):
        logp = wb.log_softmax(x @ w, axis=1)
        return -sum(logp[k, label] for k, label in enumerate(y.tolist())) / len(y)

    return s.descends(loss, w, given=x_and_y)


@row(fits=True)
def counts_by_class(s):
    w = leaf(3, 3)

    @s.compiled
    def loss(x, y):
        share = np.bincount(y, minlength=3) / len(y)
        return wb.cross_entropy(x @ w, y) + wb.sum((wb.mean(wb.softmax(x @ w, axis=1), axis=0) - share) ** 2)

    return s.descends(loss, w, given=x_and_y)


@row(fits=True)
def accuracy_beside_the_loss(s):
    w, right = leaf(3, 3), []

    @s.compiled
    def loss(x, y):
        scores = x @ w
        right.append(int((np.argmax(scores.data, axis=1) == y).sum()))
        s.note(right)
        return wb.cross_entropy(scores, y)

    return s.descends(loss, w, given=x_and_y)


@row(fits=True)
def pairs_of_the_same_class(s):
    w = leaf(3, 2)

    @s.compiled
    def loss(x, y):
        z = x @ w
        same = y[:, None] == y[None, :]
        distance = wb.sum((z[:, None, :] - z[None, :, :]) ** 2, axis=2)
        return wb.mean(wb.where(same, distance, wb.relu(1.0 - distance)))

    return s.descends(loss, w, given=x_and_y)


@row(fits=True)
def lookup_in_a_dictionary_of_classes(s):
    w, centers = leaf(3, 2), {k: normal(2, seed=k) for k in range(3)}

    @s.compiled
    def loss(x, y):
        z = x @ w
        goal = np.stack([centers[k] for k in y])
        for k in set(y.tolist()):
            centers[k] = 0.9 * centers[k] + 0.1 * z.data[y == k].mean(axis=0)
        return wb.mean((z - goal) ** 2)

    return s.descends(loss, w, given=x_and_y)


@row
def labels_of_other_dtypes(s):
    w = leaf(3, 3)

    @s.compiled
    def loss(x, y):
        return wb.cross_entropy(x @ w, y), np.issubdtype(y.dtype, np.integer), y.dtype

    dtypes = ["i8", "u1", "i4", "i8", "i2", "u8"]
    return s.descends(loss, w, given=lambda i: (batch(i), labels(i).astype(dtypes[i % 6])))


@row
def padded_sequences_with_a_mask(s):
    table, w = leaf(6, 3), leaf(3, 6)

    @s.compiled
    def loss(tokens, lengths):
        mask = np.arange(tokens.shape[1]) < lengths[:, None]
        logp = wb.log_softmax(wb.tanh(table[tokens[:, :-1]]) @ w, axis=-1)
        picked = logp[np.arange(len(tokens))[:, None], np.arange(tokens.shape[1] - 1), tokens[:, 1:]]
        return -wb.sum(picked * mask[:, 1:]) / mask[:, 1:].sum()

    def given(i):
        rng = np.random.default_rng(i)
        return rng.integers(0, 6, (3, 5)), rng.integers(2, 6, 3)

    return s.descends(loss, table, w, given=given)


@row(fits=True)
def where_with_one_argument(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        rows, columns = np.where(x > 0.0)
        return wb.sum((w * x)[rows, columns]) / max(len(rows), 1)

    return s.descends(loss, w)


@row(fits=True)
def assignments_through_indices(s):
    w = leaf(3)

    @s.compiled
    def loss(x, y):
        h = wb.set_at(x @ w, y[:1], 5.0)
        return wb.mean(h * h) + wb.sum(wb.set_at(np.zeros(3), y, x @ w) if len(set(y.tolist())) == 4 else w)

    return s.descends(loss, w, given=x_and_y)

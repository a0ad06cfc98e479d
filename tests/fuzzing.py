"""Damaged and hostile files, made from a whole one: `python tests/fuzzing.py 100000` tries so many.

Whatever a file holds, `load` must take it whole, or raise `LoadError` and change nothing. Everything follows from the
number of a try, so that one that fails can be repeated: `python tests/fuzzing.py 1 4711`.
"""

import copy
import json
import random
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

import tinygrad_wb as wb


class Net(wb.Module):
    """All kinds of state: arrays of two dtypes, a number, kept arrays and numbers, a random generator."""

    kept = ("seen", "mean")

    def __init__(self, seed=0):
        self.hidden = wb.Dense(2, 3, "tanh", seed=seed)
        self.drop = wb.Dropout(0.5, seed=seed)
        self.out = wb.Dense(3, 2, seed=seed, dtype="float32")
        self.scale = wb.Value(0.5 + seed)
        self.seen, self.mean = seed, np.full(2, float(seed))

    def forward(self, x):
        return self.out(self.drop(self.hidden(x))) * self.scale


def trained(seed):
    """A model, its optimizer, and a generator, after a few steps."""
    model, rng = Net(seed), np.random.Generator(np.random.MT19937(seed))
    optimizer = wb.Adam(model.parameters(), wb.WarmUp(3, 0.01))
    for _ in range(3):
        loss = wb.cross_entropy(model(rng.normal(size=(4, 2))), [0, 1, 1, 0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model, optimizer, rng


def everything(model, optimizer, rng):
    """All that a load could change, in a form that can be compared."""
    optimizer.separate()
    return repr((
        [(name, np.asarray(slot.read()).tobytes(), type(slot.read())) for name, slot in model.state()],
        [sorted((word, np.asarray(x).tobytes()) for word, x in memory.items()) for memory in optimizer.memory],
        [(name, x) for name, x in vars(optimizer).items() if name not in ("parameters", "memory", "_together")],
        [str(g.bit_generator.state) for g in (model.drop.rng, rng)],
    ))  # fmt: skip


# -- damage -----------------------------------------------------------------------------------------------------------

ODD = [
    None, True, False, 0, 1, -1, 2**31, 2**53, 2**63, 2**64, 2**128, 10**4000, 0.5, -0.0, 1e308, float("nan"), float("inf"),
    "", "x", "\u0000", "training/", [], [0], [[[]]], {}, {"a": 1}, "F64", "F32", "BF16", "I64", "C64", "F4", "__metadata__",
]  # fmt: skip


def parts(whole):
    size = int.from_bytes(whole[:8], "little")
    return json.loads(whole[8 : 8 + size]), whole[8 + size :]


def joined(header, data):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def retold(header, text):
    """Put another text beside the arrays, as a program would that writes no checksums."""
    header["__metadata__"].pop("crc32", None)
    header["__metadata__"]["tinygrad_wb"] = text


def flipped(whole, dice):
    """Some bits, anywhere or in the header."""
    end = len(whole) if dice.random() < 0.3 else 8 + int.from_bytes(whole[:8], "little")
    content = bytearray(whole)
    for _ in range(dice.choice((1, 1, 2, 8))):
        content[dice.randrange(end)] ^= 1 << dice.randrange(8)
    return bytes(content)


def cut(whole, dice):
    return whole[: dice.randrange(len(whole))]


def longer(whole, dice):
    return whole + dice.randbytes(dice.choice((1, 8, 100)))


def spliced(whole, dice):
    """A stretch taken out, doubled, or put elsewhere."""
    a, b, c = sorted(dice.randrange(len(whole)) for _ in range(3))
    return dice.choice((whole[:a] + whole[b:], whole[:b] + whole[a:], whole[:a] + whole[b:c] + whole[a:b] + whole[c:]))


def other_length(whole, dice):
    size = dice.choice((0, 1, 7, 2**31, 2**63, 2**64 - 1, dice.randrange(len(whole) * 2)))
    return size.to_bytes(8, "little") + whole[8:]


def noise(whole, dice):
    return dice.randbytes(dice.randrange(300))


def other_header(whole, dice):
    """A header that is JSON still: names, dtypes, shapes and places of arrays changed."""
    header, data = parts(whole)
    for _ in range(dice.choice((1, 1, 1, 3))):
        name = dice.choice(sorted(header))
        entry = header[name]
        what = dice.randrange(5)
        if what == 0:
            del header[name]
        elif what == 1:
            header[dice.choice([*header, "new", "training/memory/hidden.weight/third", "training/x"])] = entry
        elif what == 2:
            header[name] = copy.deepcopy(dice.choice(ODD))
        elif isinstance(entry, dict) and entry:
            word = dice.choice(sorted(entry))
            if isinstance(entry[word], list) and entry[word] and what == 3:
                entry[word][dice.randrange(len(entry[word]))] = dice.choice([*ODD, 2, 3, 6])
            else:
                entry[word] = copy.deepcopy(dice.choice(ODD))
        if not header:
            break
    return joined(header, data)


def other_metadata(whole, dice):
    """What the file says besides arrays, changed in one place, as JSON or as a text that is none."""
    header, data = parts(whole)
    told = json.loads(header["__metadata__"]["tinygrad_wb"])
    if dice.random() < 0.1:
        retold(header, dice.choice(["", "{", "[" * 5000, "9" * 5000, "null", "[]", '"x"', "NaN"]))
        return joined(header, data)
    holder, key = {"it": told}, "it"
    while isinstance(holder[key], (dict, list)) and holder[key] and dice.random() < 0.8:
        holder = holder[key]
        key = dice.choice(sorted(holder)) if isinstance(holder, dict) else dice.randrange(len(holder))
    if dice.random() < 0.2 and isinstance(holder, dict):
        del holder[key]
    else:
        holder[key] = copy.deepcopy(dice.choice(ODD))
    sys.set_int_max_str_digits(0)  # to write numbers that are longer than what is read
    try:
        retold(header, json.dumps(holder["it"] if "it" in holder else told))
    finally:
        sys.set_int_max_str_digits(4300)
    return joined(header, data)


DAMAGE = [
    flipped,
    flipped,
    cut,
    longer,
    spliced,
    other_length,
    noise,
    other_header,
    other_header,
    other_metadata,
    other_metadata,
]


def damaged(whole, number):
    """File number so-and-so."""
    dice = random.Random(number)
    content = dice.choice(DAMAGE)(whole, dice)
    return (
        dice.choice(DAMAGE)(content, dice)
        if dice.random() < 0.1 and len(content) > 16 and readable(content)
        else content
    )


def readable(content):
    try:
        header, _ = parts(content)
        return isinstance(json.loads(header["__metadata__"]["tinygrad_wb"]), dict)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


# -- the trial ----------------------------------------------------------------------------------------------------------


class Trial:
    def __init__(self, folder):
        self.path = Path(folder) / "damaged.safetensors"
        self.whole = wb.save(*self._saved(), notes={"epoch": 3}).read_bytes()
        self.model, self.optimizer, self.rng = trained(1)
        self.before = everything(self.model, self.optimizer, self.rng)
        self.loaded = self.refused = 0

    def _saved(self):
        model, optimizer, rng = trained(0)
        return model, self.path, optimizer, rng

    def fresh(self):
        self.model, self.optimizer, self.rng = trained(1)

    def run(self, number):
        """Try one file; AssertionError if anything is other than it should be."""
        self.path.write_bytes(damaged(self.whole, number))
        with_training = number % 3 > 0
        try:
            if with_training:
                wb.load(self.model, self.path, self.optimizer, self.rng)
            else:
                wb.load(self.model, self.path)
        except wb.LoadError as error:
            refusal = str(error)
        except BaseException as error:
            raise AssertionError(f"{number}: {error!r}") from error
        else:
            self.loaded += 1
            self._check(number)
            self.fresh()
            return
        self.refused += 1
        assert len(refusal) < 20_000, f"{number}: the error is {len(refusal)} letters long"
        assert everything(self.model, self.optimizer, self.rng) == self.before, f"{number}: something has changed"

    def _check(self, number):
        """What was taken is what stands in the file, as the library itself reads it."""
        from safetensors import safe_open

        with safe_open(str(self.path), "numpy") as file:
            for name, slot in self.model.state():
                found = slot.read()
                assert np.asarray(found).tobytes() == file.get_tensor(name).tobytes(), f"{number}: {name}"
        assert type(self.model.scale.data) is float
        assert type(self.model.seen) is int
        assert [p.data.dtype.name for p in self.model.out.parameters()] == ["float32"] * 2
        assert self.rng.random() < 1.0  # a state that NumPy can't go on from would crash, or never end


def main(count, first=0):
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(folder)
        for number in range(first, first + count):
            trial.run(number)
            if sys.stdout.isatty() and number % 1000 == 0:
                print(f"\r{number:,}", end="")
    print(f"{count:,} files: {trial.refused:,} refused, {trial.loaded:,} whole enough to be loaded")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

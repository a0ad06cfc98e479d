"""Which film next? What people like, and what films are like, is learnt from nothing but ratings.

    python examples/recommender.py [FOLDER]

Each person and each film gets a few numbers, an embedding; the dot product of the two says how well they go together
(matrix factorisation; Koren et al., 2009). The ratings are made up, so that we know the tastes behind them, and can see
whether they are found. Pictures go to FOLDER.
"""

import sys
from itertools import product
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

import tinygrad_wb as wb

mpl.use("Agg")  # pictures go to files, no window is needed
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "recommender_pictures")
folder.mkdir(parents=True, exist_ok=True)

# %% People, films, and what they think of them
# Films differ in how funny they are, and in how thrilling. So do people, in what they want. How they rate a film, from
# 1 to 5 or so, is: what people give on average, more or less because of who they are (some are hard to please) and
# because of what it is (some films are better), more if the film is as they want it, and a mood. Each has seen three
# films of ten.

GENRES = {  # how funny, how thrilling; titles are one of these and one of those
    "comedy": ((1.1, -0.6), "Clumsy Borrowed Talking Second Backward", "Wedding Landlord Goat"),
    "thriller": ((-0.6, 1.1), "Silent Last Locked Third Broken", "Witness Signal Corridor"),
    "drama": ((-0.8, -0.9), "Long Grey Unsent Distant Quiet", "Winter Letter Orchard"),
    "adventure": ((0.7, 0.9), "Golden Lost Flying Hidden Burning", "Island Compass Caravan"),
}
PEOPLE, MOOD = 600, 0.4
COLORS = dict(zip(GENRES, ["#e69f00", "#d55e00", "#0072b2", "#009e73"]))

rng = np.random.default_rng(0)
films, genres, centres = [], [], []
for genre, (centre, firsts, seconds) in GENRES.items():
    for first, second in product(firsts.split(), seconds.split()):
        films.append(f"The {first} {second}")
        genres.append(genre)
        centres.append(centre)

film_tastes = np.array(centres) + rng.normal(0.0, 0.3, (len(films), 2))
people_tastes = rng.normal(0.0, 0.5, (PEOPLE, 2))
likings = 3.2 + rng.normal(0.0, 0.3, (PEOPLE, 1)) + rng.normal(0.0, 0.3, len(films)) + people_tastes @ film_tastes.T

pairs = np.argwhere(rng.random(likings.shape) < 0.3)  # who, what
rng.shuffle(pairs)
ratings = likings[pairs[:, 0], pairs[:, 1]] + rng.normal(0.0, MOOD, len(pairs))
held = len(pairs) // 10
x_test, y_test, x, y = pairs[:held], ratings[:held], pairs[held:], ratings[held:]
print(f"{PEOPLE} people have given {len(y):,} ratings to {len(films)} films; {held:,} more are held back")

# %% What averages can tell
# The mean of all, and how far each person and each film is from it.


def root_mean_square(errors):
    return np.sqrt(np.mean(errors**2))


mean = y.mean()
of_person, of_film = np.zeros(PEOPLE), np.zeros(len(films))
for _ in range(10):  # in turn, as good films may have been seen by those who are hard to please
    for numbers, column, others in ((of_person, 0, of_film[x[:, 1]]), (of_film, 1, of_person[x[:, 0]])):
        numbers[:] = np.bincount(x[:, column], y - mean - others, len(numbers)) / np.bincount(x[:, column])
averages = mean + of_person[x_test[:, 0]] + of_film[x_test[:, 1]]

# %% Embeddings
# An embedding is a table of weights with a row for each person (or film): to embed is to look up the row. The rows
# start as small random numbers. If somebody liked a film more than expected, the gradient turns the two rows towards
# each other. Nobody says what the two numbers mean.


class Recommender(wb.Module):
    def __init__(self):
        small = {"weight_init": lambda shape, rng: rng.normal(0.0, 0.1, shape)}
        self.people = wb.Embedding(PEOPLE, 2, seed=1, **small)
        self.films = wb.Embedding(len(films), 2, seed=2, **small)
        self.people_bias = wb.Embedding(PEOPLE, 1, weight_init="zeros")
        self.films_bias = wb.Embedding(len(films), 1, weight_init="zeros")

    def forward(self, pairs):
        who, what = pairs[:, 0], pairs[:, 1]
        alike = (self.people(who) * self.films(what)).sum(axis=1)  # a dot product for each pair
        return mean + self.people_bias(who)[:, 0] + self.films_bias(what)[:, 0] + alike


EPOCHS, BATCH = 40, 128
model = Recommender()
what = films.index("The Talking Goat")
print("\nAn embedding is a table of weights, and a film is a row of it.")
print(f"  {films[what]} is row {what}, at first {model.films.weight.data[what].round(2)}", end="")
steps = EPOCHS * -(-len(x) // BATCH)
optimizer = wb.AdamW(model.parameters(), learning_rate=wb.CosineDecay(0.02, steps), weight_decay=0.1)
wb.fit(model, x, y, loss="mean_squared_error", optimizer=optimizer, epochs=EPOCHS, batch_size=BATCH, seed=0)

print(f", at last {model.films.weight.data[what].round(2)}")
print("  The dot product of two rows says how alike they are: here, whether somebody will like the film.")

with wb.no_grad():
    predicted = model(x_test).data
print("\nHow far from the ratings held back (root mean square)")
print(f"  the mean alone     {root_mean_square(mean - y_test):.3f}")
print(f"  averages           {root_mean_square(averages - y_test):.3f}")
print(f"  with embeddings    {root_mean_square(predicted - y_test):.3f}")
print(f"  moods, which nobody can foresee: {MOOD}")

# %% Has it found the tastes?
# A dot product stays the same if all arrows are turned together, so the two numbers need not be "funny" and
# "thrilling" one by one. Turned and stretched as fits best, they should be.


def aligned(learnt, true):
    """``learnt``, turned and stretched towards ``true``, and the correlation of the two in each direction."""
    learnt, true = learnt - learnt.mean(0), true - true.mean(0)
    turned = learnt @ np.linalg.lstsq(learnt, true)[0]
    return turned, [np.corrcoef(turned[:, i], true[:, i])[0, 1] for i in range(2)]


print("\nCorrelation with the tastes behind the ratings, which it was never told")
for what, table, true in (("films", model.films, film_tastes), ("people", model.people, people_tastes)):
    turned, (funny, thrilling) = aligned(table.weight.data, true)
    print(f"  {what:7} funny {funny:.3f}   thrilling {thrilling:.3f}")

turned, _ = aligned(model.films.weight.data, film_tastes)
figure, axes = plt.subplots(1, 3, figsize=(12, 4.5), layout="constrained")
shown = {"The tastes behind the ratings": film_tastes, "Learnt from ratings": model.films.weight.data}
for ax, (title, places) in zip(axes, [*shown.items(), ("Learnt, and turned", turned)]):
    for genre, color in COLORS.items():
        of_genre = np.array(genres) == genre
        ax.scatter(*places[of_genre].T, s=28, color=color, label=genre)
    ax.axhline(0.0, color="#bbbbbb", linewidth=0.8, zorder=0)
    ax.axvline(0.0, color="#bbbbbb", linewidth=0.8, zorder=0)
    named = title != "Learnt from ratings"
    ax.set(title=title, xlabel="funny" if named else "number 0", ylabel="thrilling" if named else "number 1")
    ax.set_aspect("equal", adjustable="datalim")
    ax.spines[["top", "right"]].set_visible(False)
figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=len(GENRES))
figure.savefig(folder / "film_tastes.png", dpi=150)

# %% Films for somebody
# Of the films that they haven't seen: those of which the model expects most. The dot product says why.

who = int(np.argmax(np.linalg.norm(people_tastes, axis=1)))  # somebody with a pronounced taste
seen = x[x[:, 0] == who]
unseen = np.setdiff1d(np.arange(len(films)), pairs[pairs[:, 0] == who, 1])
liked = seen[np.argsort(-y[x[:, 0] == who])]
print(f"\nPerson {who} liked {', '.join(films[what] for _, what in liked[:3])},")
print(f"and did not like {', '.join(films[what] for _, what in liked[-3:])}.")
with wb.no_grad():
    expected = model(np.column_stack([np.full(len(unseen), who), unseen])).data
print("\nTo see next             genre       mean + person + film + dot product = expected   true")
for i in np.argsort(-expected)[:5]:
    what = unseen[i]
    biases = model.people_bias.weight.data[who, 0], model.films_bias.weight.data[what, 0]
    alike = model.people.weight.data[who] @ model.films.weight.data[what]
    numbers = f"{mean:4.2f}   {biases[0]:+6.2f}  {biases[1]:+5.2f}   {alike:+11.2f}"
    print(f"  {films[what]:21} {genres[what]:11} {numbers}   {expected[i]:8.2f}  {likings[who, what]:5.2f}")

# %% Films like this one
# Arrows of films that the same people like point the same way: the cosine of the angle between them is near 1.

arrows = model.films.weight.data / np.linalg.norm(model.films.weight.data, axis=1, keepdims=True)
print("\nMost alike")
for what in range(0, len(films), len(films) // 4):
    cosines = arrows @ arrows[what]
    nearest = np.argsort(-cosines)[1:4]
    print(f"  {films[what]} ({genres[what]}): " + ", ".join(f"{films[i]} {cosines[i]:.2f}" for i in nearest))

# %%
print(f"\nPictures in {folder.resolve()}: {', '.join(sorted(file.name for file in folder.iterdir()))}")

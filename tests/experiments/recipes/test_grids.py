"""Grids of recipes from a file."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import use_tiny_net

from dropblock_lib.experiments import Recipe
from dropblock_lib.experiments.__main__ import main
from dropblock_lib.experiments.recipes import slides
from dropblock_lib.experiments.recipes.grids import read_grid
from dropblock_lib.experiments.records.record import default_results_directory

LEAST = 'network = "custom_net"\nvariant = "none"\ndataset = "cifar10"\n'


@pytest.fixture
def grid(tmp_path):
    def write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return path

    return write


def test_fields_that_a_table_leaves_out_have_the_defaults_of_recipe(grid):
    [recipe] = read_grid(grid(f"[mine]\n{LEAST}"))
    assert recipe == Recipe("custom_net", "none", "cifar10", profile="mine")


def test_every_field_reaches_the_recipe(grid, monkeypatch):
    use_tiny_net(monkeypatch)
    fields = {
        "network": "tiny",
        "variant": "dropblock-3-0.9",
        "dataset": "mnist",
        "train_size": 11,
        "validation_size": 12,
        "test_size": 13,
        "epochs": 2,
        "batch_size": 5,
        "optimizer": "sgd",
        "learning_rate": 0.5,
        "learning_rate_schedule": "constant",
        "keep_prob_schedule": "constant",
        "seed": 3,
        "augmentation": "shift-flip",
        "warmup": 0.1,
        "weight_decay": 0.001,
        "label_smoothing": 0.1,
        "validation_every": 2,
        "validation_subset": 6,
        "subset_seed": "seed",
        "precision": "mixed_bfloat16",
    }
    lines = [
        f'{name} = "{value}"' if isinstance(value, str) else f"{name} = {value}"
        for name, value in fields.items()
    ]
    [recipe] = read_grid(grid("\n".join(["[all_of_them]", *lines])))
    assert recipe == Recipe(**fields, profile="all_of_them")


def test_none_means_all_images(grid):
    sizes = 'train_size = ["none"]\ntest_size = "none"\n'
    [recipe] = read_grid(grid(f"[mine]\n{LEAST}{sizes}"))
    assert recipe.train_size is None and recipe.test_size is None
    assert recipe.variant == "none"


lists = st.lists
VALUES = {
    "network": lists(st.sampled_from(["custom_net", "tiny"]), min_size=1, unique=True),
    "variant": lists(
        st.sampled_from(["none", "dropblock-3-0.9", "dropout-0.25"]),
        min_size=1,
        unique=True,
    ),
    "dataset": lists(st.sampled_from(["mnist", "shapes"]), min_size=1, unique=True),
    "seed": lists(st.integers(0, 99), min_size=1, max_size=3, unique=True),
}


@given(fields=st.fixed_dictionaries(VALUES), order=st.permutations(list(VALUES)))
def test_a_list_stands_for_all_of_its_values(tmp_path_factory, fields, order):
    path = tmp_path_factory.mktemp("grid") / "mine.toml"
    # Python's and TOML's lists of numbers and simple strings look the same.
    lines = [f"{name} = {fields[name]}" for name in order]
    path.write_text("\n".join(["[mine]", *lines]))
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_tiny_net(monkeypatch)
        recipes = read_grid(path)
        expected = {
            Recipe(**dict(zip(fields, values, strict=True)), profile="mine")
            for values in itertools.product(*fields.values())
        }
    assert len(recipes) == len(expected) and set(recipes) == expected
    # Whenever a grid is stopped, it has compared complete sets of variants.
    size = len(fields["variant"])
    for start in range(0, len(recipes), size):
        together = recipes[start : start + size]
        assert [recipe.variant for recipe in together] == fields["variant"]
        assert len({recipe.seed for recipe in together}) == 1
    seeds = len(fields["seed"])
    for start in range(0, len(recipes), size * seeds):
        together = recipes[start : start + size * seeds]
        assert len({(r.network, r.dataset) for r in together}) == 1


def test_tables_stay_in_the_order_of_the_file(grid):
    recipes = read_grid(grid(f"[b]\n{LEAST}[a]\n{LEAST}seed = [1, 0]\n"))
    assert [(r.profile, r.seed) for r in recipes] == [("b", 0), ("a", 1), ("a", 0)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[mine\n", ["not TOML", "line 1"]),
        ("", ["no table"]),
        ("epochs = 3\n", ["no table"]),
        (f"depth = 3\n[mine]\n{LEAST}", ["[mine]", "Received: depth"]),
        (f"[mine]\n{LEAST}depth = 3\n", ["[mine]", "Received: depth"]),
        (f'[mine]\n{LEAST}profile = "x"\n', ["[mine]", "Received: profile"]),
        ('[mine]\nvariant = "none"\n', ["[mine]", "network, dataset are missing"]),
        (f"[mine]\n{LEAST}seed = []\n", ["[mine]", "`seed` is an empty list"]),
        (f"[mine]\n{LEAST}epochs = [1, 0]\n", ["[mine]", "`epochs`", "epochs=0"]),
        (f"[mine]\n{LEAST}seed = 1.5\n", ["[mine]", "`seed`", "seed=1.5"]),
        (f"[mine]\n{LEAST}seed = [[1]]\n", ["[mine]", "`seed`", "seed=[1]"]),
        (f"[mine.sub]\n{LEAST}", ["[mine]", "Received: sub"]),
        (f"[[mine]]\n{LEAST}[[mine]]\n{LEAST}", ["[mine]", "the same name"]),
        (f"[mine]\n{LEAST}".replace('"none"', "{size = 3}"), ["`numbers`", "size"]),
        (f'[mine]\n{LEAST}batch_size = "none"\n', ["`batch_size`"]),
        (f"[Mine]\n{LEAST}", ["[Mine]", "`profile`"]),
        (f"[a]\n{LEAST}[b]\n{LEAST}optimizer = 'x'\n", ["[b]", "`optimizer`"]),
    ],
)
def test_errors_name_file_table_and_field(grid, text, says):
    path = grid(text)
    with pytest.raises(ValueError) as caught:
        read_grid(path)
    for part in [str(path), *says]:
        assert part in str(caught.value)


def test_two_recipes_with_the_same_name_are_rejected(grid):
    # Both recipes would claim the same record.
    for values in ("epochs = [1, 2]", "seed = [3, 3]"):
        with pytest.raises(ValueError, match=r"mine\.toml.*\[mine\].*same name"):
            read_grid(grid(f"[mine]\n{LEAST}{values}\n"))


def test_bytes_that_are_not_text_are_rejected(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe[mine]")
    with pytest.raises(ValueError, match=r"mine\.toml is not a grid"):
        read_grid(path)


def test_keys_above_the_tables_apply_to_all_of_them(grid):
    text = f"epochs = 3\n{LEAST}[[a]]\n[[a]]\nepochs = 4\nseed = 1\n[b]\n"
    recipes = read_grid(grid(text))
    found = [(recipe.profile, recipe.seed, recipe.epochs) for recipe in recipes]
    assert found == [("a", 0, 3), ("a", 1, 4), ("b", 0, 3)]


def test_a_variant_may_be_given_by_its_numbers(grid):
    numbers = 'variant = {method = "dropblock", block_size = 5, keep_prob = 0.85}\n'
    text = LEAST.replace('variant = "none"\n', numbers)
    [recipe] = read_grid(grid(f"[mine]\n{text}"))
    assert recipe.variant == "dropblock-5-0.85"
    assert recipe.regularizer["block_size"] == 5


@pytest.mark.parametrize("name", ["slides", "dose", "when", "detect"])
def test_the_grids_of_the_book_are_found_by_name(name):
    recipes = read_grid(name)
    assert len({recipe.hash for recipe in recipes}) == len(recipes) > 50


def test_detectors_are_compared_from_pretrained_weights_in_seven_variants():
    recipes = [recipe for recipe in read_grid("detect") if recipe.profile == "detect"]
    assert {recipe.variant for recipe in recipes} == set(slides.RETINANET_LOSSES)
    assert {recipe.seed for recipe in recipes} == {0, 1, 2} and len(recipes) == 21
    assert {recipe.weights for recipe in recipes} == {"imagenet"}
    assert {recipe.placement for recipe in recipes} == {"last-stages-and-pyramid"}
    assert {recipe.keep_prob_schedule for recipe in recipes} == {"linear"}


def test_the_command_line_reads_it(grid, tmp_path, capsys):
    path = grid(f"[mine]\n{LEAST}seed = [0, 1]\n[other]\n{LEAST}")
    assert main(["list", "--grid", str(path), "--results", str(tmp_path)]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 3
    assert main(["list", "--grid", str(tmp_path / "none.toml")]) == 1
    assert "none.toml" in capsys.readouterr().err


def test_the_grid_of_the_source_tree_is_valid():
    path = default_results_directory() / "tuning.toml"
    if not path.exists():
        pytest.skip("the package is installed without its source tree")
    recipes = read_grid(path)
    assert len({recipe.name for recipe in recipes}) == len(recipes)

"""Figures show the numbers of the records: points, bands, chance, one colour a method, equal files."""

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from anrot_lib.attacks.gradient import pgd
from anrot_lib.core.errors import UserError
from anrot_lib.records import results
from anrot_lib.records.describe import describe_threat
from anrot_lib.reports import figures

EPS = (0.0, 4 / 255, 16 / 255)
SIGMA = (0.1, 0.3)
NAN = (float("nan"), float("nan"))


def counts(mean):
    return np.array([mean - 2, mean, mean + 2, mean + 4])


def record(row, base=15):
    columns = {
        "clean": results.make_column(counts(base), 25, 1.0),
        "clean, attacked tasks": results.make_column(counts(base), 25, 1.0),
    }
    for k, eps in reversed(list(enumerate(EPS))):
        threat = pgd(eps, 10, eps / 4, 1, target="query")
        columns[f"curve {threat.name}"] = results.make_column(
            counts(base - 4 * k), 25, 1.0, threat=describe_threat(threat)
        )
    for k, sigma in enumerate(SIGMA):
        columns[f"noise {sigma:.2f} query"] = results.make_column(counts(base - 3 * k), 25, 1.0, sigma=sigma)
    return {"row": row, "columns": columns, "protocol": {"way": 5}}


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ((0, 2 / 255, 16 / 255, 0.1, 0.3), ["0", "2", "16", "25.5", "76.5"]),
        ((0, 0.05, 0.1, 0.2), ["0", "0.05", "0.1", "0.2"]),
    ],
)
def test_an_axis_over_eps_has_one_unit(values, ticks):
    found, label = figures.describe_eps(np.array(values))
    assert found == ticks and label.startswith("eps, L-inf, ") and ("255ths" in label) == ("25.5" in ticks)


@pytest.mark.parametrize(("kind", "x"), [("eps", EPS), ("sigma", (0.0, *SIGMA))])
def test_a_curve_is_that_of_the_record_in_order(kind, x):
    found_x, mean, half, n = figures.select_curve(record("anrot"), kind)
    assert found_x == pytest.approx(x)
    accuracies = [16, 12, 8] if kind == "eps" else [16, 16, 13]
    assert mean == pytest.approx([100 * a / 25 for a in accuracies])
    assert half == pytest.approx(record("anrot")["columns"]["clean"]["half_width"])
    assert n == 4


@pytest.mark.parametrize("kind", ["eps", "sigma"])
def test_a_record_without_curves_is_named(kind):
    bare = record("anrot")
    bare["columns"] = {"clean": bare["columns"]["clean"]}
    with pytest.raises(UserError, match=f"record of 'anrot' holds no curve over {kind}"):
        figures.select_curve(bare, kind)


def test_the_figure_draws_every_row_with_its_band_and_the_chance_line():
    records = [record("anrot"), record("anrot-clean", 14), record("mine", 13)]
    figure = figures.draw_robustness(records)
    left, right = figure.axes
    for axes, kind in ((left, "eps"), (right, "sigma")):
        lines = {line.get_label(): line for line in axes.lines}
        titles = ("ANROT, trained on the mixture", "ANROT, trained clean", "mine", "chance")
        assert set(lines) == set(titles)
        for r, name in zip(records, titles, strict=False):
            x, mean, half, _ = figures.select_curve(r, kind)
            assert lines[name].get_xdata() == pytest.approx(range(3) if kind == "eps" else x)
            assert lines[name].get_ydata() == pytest.approx(mean)
            bands = [b for b in axes.collections if to_hex(b.get_facecolor()[0][:3]) == to_hex(lines[name].get_color())]
            heights = np.concatenate([b.get_paths()[0].vertices[:, 1] for b in bands])
            assert heights.min() == pytest.approx((mean - half).min())
            assert heights.max() == pytest.approx((mean + half).max())
        assert list(lines["chance"].get_ydata()) == [20, 20]
        assert "pixel range" in axes.get_xlabel()
        assert "4 episodes" in axes.get_title()
    assert [t.get_text() for t in left.get_xticklabels()] == ["0", "4", "16"]
    assert left.get_ylabel() == "accuracy, %"
    assert left.get_ylim() == (0, 100)


def test_the_trade_off_has_a_point_a_recipe_at_its_two_accuracies():
    records = [record("anrot"), record("mine", 13)]
    for r, shares in zip(records, ((1, 1, 1), (0, 2, 0.5)), strict=True):
        r["protocol"] |= {"steps": 20}
        r["recipe"] = dict(zip(("clean", "adversarial", "noisy"), shares, strict=True))
        r["columns"]["PGD-20 8/255 query"] = results.make_column(counts(5 + shares[1]), 25, 1.0)
    (axes,) = figures.draw_trade_off(records).axes
    points = [bar.lines[0].get_xydata()[0] for bar in axes.containers]
    assert np.array(points) == pytest.approx(np.array([[28.0, 64.0], [32.0, 56.0]]))
    assert [t.get_text() for t in axes.texts] == ["1:1:1", "0:2:0.5"]
    assert "PGD-20 8/255" in axes.get_xlabel()


def test_every_method_has_a_colour_of_its_own():
    others = ["a", "b", "c"]
    colours = [figures.pick_colour(row, others) for row in (*figures.list_colours(), *others)]
    assert len(set(colours)) == len(colours)
    assert figures.pick_colour("anrot", others) == figures.pick_colour("anrot")


def test_equal_figures_are_equal_files(tmp_path):
    files = [figures.save(figures.draw_robustness([record("anrot")]), tmp_path / name) for name in ("a.png", "b.png")]
    first, second = (f.read_bytes() for f in files)
    assert first == second
    assert first.startswith(b"\x89PNG")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]
    figures.save(figures.draw_robustness([record("anrot", 14)]), files[1])
    assert files[1].read_bytes() != first


def test_bars_show_means_intervals_and_chance_and_skip_what_was_not_measured():
    axes = Figure().subplots()
    groups = {"one": {"clean": (90.0, 2.0), "attacked": (40.0, 5.0)}, "two": {"clean": (80.0, 1.0), "attacked": NAN}}
    figures.draw_bars(axes, groups, {"one": "#56B4E9", "two": "#D55E00"}, chance=20)
    heights = [bar.get_height() for bar in axes.patches]
    assert heights[:3] == [90, 40, 80] and np.isnan(heights[3])
    assert [text.get_text() for text in axes.texts] == ["90", "40", "80"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["clean", "attacked"]
    assert {line.get_label(): set(line.get_ydata()) for line in axes.lines}["chance"] == {20}


def test_a_matrix_shows_every_value_at_its_place_and_leaves_gaps_blank():
    axes = Figure().subplots()
    values = np.array([[97.2, 40.0, np.nan], [3.4, 60.0, 0.0]])
    figures.draw_matrix(axes, values, ["FGSM", "PGD"], ["query", "support", "both"], "title")
    at = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in axes.texts}
    assert at == {(0, 0): "97", (0, 1): "40", (1, 0): "3", (1, 1): "60", (1, 2): "0"}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["query", "support", "both"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["FGSM", "PGD"]
    assert axes.images[0].get_clim() == (0, 100), "one scale of colours for all matrices"
    bare = Figure().subplots()
    figures.draw_matrix(bare, values, ["FGSM", "PGD"], [], numbers=False)
    assert not bare.texts and not bare.get_xticklabels()


def test_the_matrix_of_records_holds_what_was_measured_at_the_radius_of_the_protocol():
    def column(target, mean, **about):
        threat = pgd(8 / 255, 20, 2 / 255, 1, target=target)
        return results.make_column(counts(mean), 25, 1.0, threat=describe_threat(threat), **about)

    first, second = record("anrot-clean"), record("anrot")
    for made in (first, second):
        made |= {"transductive": False, "protocol": {"way": 5, "eps": 8 / 255, "steps": 20, "sigma": 0.1}}
    first["columns"]["PGD-20 8/255 query"] = column("query", 5)
    second["columns"] |= {
        "PGD-20 8/255 query": column("query", 11),
        "PGD-20 8/255 both": column("both", 6, objective="beaten queries"),
        "AA-lite 8/255 query": column("query", 10, suite="aa-lite"),
    }
    axes = figures.draw_attack_matrix([second, first]).axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["PGD-20\nquery", "AA-lite\nquery", "PGD-20\nboth"]
    rows = [t.get_text() for t in axes.get_yticklabels()]
    at = {(rows[int(t.get_position()[1])], int(t.get_position()[0])): t.get_text() for t in axes.texts}
    clean, mixed = (next(row for row in rows if word in row) for word in ("clean", "mixture"))
    assert at == {(clean, 0): "24", (mixed, 0): "48", (mixed, 1): "44", (mixed, 2): "28"}
    with pytest.raises(UserError, match="no attack at the radius"):
        figures.draw_attack_matrix([record("anrot") | {"protocol": first["protocol"], "transductive": False}])


def test_letters_have_at_least_nine_points_on_a_page():
    """A page shows a figure with 96 pixels an inch where it was drawn with more; none asks for smaller letters."""
    smallest = 8
    assert smallest * figures.STYLE["figure.dpi"] / 96 >= 9 and figures.STYLE["font.size"] >= smallest
    root = Path(figures.__file__).resolve().parents[2]
    for path in [*root.glob("notebooks/src/*.py"), *root.glob("anrot_lib/reports/*.py")]:
        letters = re.findall(r"fontsize=(\d+(?:\.\d+)?)", path.read_text("utf-8"))
        assert all(float(size) >= smallest for size in letters), f"{path.name}: {letters}"

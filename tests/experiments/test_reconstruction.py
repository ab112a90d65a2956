"""The experiment on reconstructions: its plan, records, slices, report, figures and command; a real kill -9."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from anrot_lib.cli import main
from anrot_lib.core import checkpoints, paths
from anrot_lib.core.errors import NotFinite, UserError
from anrot_lib.core.resumable import Paused
from anrot_lib.data import image_set
from anrot_lib.data.leakage.seen import describe_origin, set_origin
from anrot_lib.data.synthetic.figures import synthetic
from anrot_lib.experiments import reconstruction
from anrot_lib.experiments.reconstruction_plan import Experiment, list_recipes, name_folder, name_row
from anrot_lib.fewshot import encoders
from anrot_lib.fewshot.nets import save_net
from anrot_lib.publish import marks
from anrot_lib.reconstruction import extractors, frechet, training
from anrot_lib.reconstruction.autoencoders import Terms
from anrot_lib.reconstruction.recipe import VaeRecipe
from anrot_lib.records import results, schema
from anrot_lib.reports import reconstruction as reconstruct_report
from anrot_lib.reports import reconstruction_figures
from tests.helpers import kill_when, never, silent

BASE = VaeRecipe(model="small", batch=64, train_images=192, validation_images=32, epochs=2)


@pytest.fixture(scope="module")
def images():
    """25 classes of 100 images of 16 px: 500 test images, enough for a distance of 240 and its floor."""
    return synthetic(n_classes=25, per_class=100, size=16)


@pytest.fixture(scope="module")
def extractor():
    encoder = encoders.build("tiny", generator=torch.Generator().manual_seed(0)).eval()
    return extractors.wrap_encoder(encoder, "tiny, untrained")


@pytest.fixture
def experiment(images, extractor, tmp_path, monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    recipes = list_recipes(BASE, ("kl", "hellinger2"), (0,), (0.1,))
    folder = name_folder(images, "smoke", "test")
    return Experiment(images, recipes, extractor, 240, folder, silent, resamples=3)


def without_times(record):
    """A record without what differs from run to run."""
    record = json.loads(json.dumps(record))
    for part in (record["training"], *record["decoded"].values()):
        part.pop("seconds")
    record["training"].pop("images_per_second")
    return record | {"run": None}


# The plan


def test_all_seeds_at_one_beta_then_one_seed_at_the_others():
    plan = list_recipes(BASE, ("kl", "wasserstein2", "hellinger2"), (0, 1, 2), (0.01, 0.1, 1.0))
    assert len(plan) == 9 + 6 and len({name_row(r) for r in plan}) == 15
    assert {(r.seed, r.beta) for r in plan[:9]} == {(s, 0.1) for s in range(3)}
    assert {(r.seed, r.beta) for r in plan[9:]} == {(0, 0.01), (0, 1.0)}
    assert {replace(r, divergence="hellinger2", beta=0.1, seed=0) for r in plan} == {BASE}, "nothing else differs"
    assert name_row(plan[2]) == "hellinger2-beta-0.1-seed-0"


# Records


@pytest.fixture(scope="module")
def finished(images, extractor, tmp_path_factory):
    """An experiment that has run, its records, and its home."""
    home = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANROT_HOME", str(home))
        recipes = list_recipes(BASE, ("kl", "hellinger2"), (0, 1), (0.1, 1.0))
        folder = name_folder(images, "smoke")
        run = Experiment(images, recipes, extractor, 240, folder, silent, resamples=5)
        records = reconstruction.run(run)
    return run, records, home


def test_a_record_says_what_was_done(finished, images):
    run, records, home = finished
    assert run.folder == home / "runs" / "synthetic-16px-reconstruction-smoke"
    assert [r["row"] for r in records] == [name_row(r) for r in run.recipes] and len(records) == 6
    record = records[0]
    assert record["kind"] == "reconstruction" and record["data"]["sha256"] == images.sha256
    assert record["extractor"] == run.extractor.about() and record["test"]["images"] == 240
    assert record["training"]["epochs"] == 2
    assert set(record["decoded"]) == {"sample", "mean"}
    assert len(record["decoded"]["mean"]["frechet"]["resampled"]) == 5
    assert record["floor"]["images"] == 240 and [p["images"] for p in record["floor"]["points"]] == [240, 120]
    assert record["floor"]["measured"] and record["floor"]["value"] == record["floor"]["points"][0]["value"]
    assert all(r["floor"] == record["floor"] for r in records), "one floor for all"
    assert [p["images"] for p in record["decoded"]["mean"]["over_images"]] == [120]
    assert record["divergences"]["kl"] >= 2 * record["divergences"]["bhattacharyya"] > 0
    assert not list(run.work.glob("*-tested.pt")) and not list(run.work.glob("*-training.pt"))


def test_the_numbers_are_those_of_the_images(finished, images):
    """Once more, straight from the net and the images."""
    run, records, home = finished
    net, _ = reconstruction.autoencoders.load(home / "checkpoints" / run.folder.name / f"{name_row(run.recipes[1])}.pt")
    rows = training.pick(images, "test", 240, 0)
    originals = images.batch(rows)
    with torch.no_grad():
        posterior = net.encode(originals)
        decoded = net.decode(posterior.mean)
        features = [run.extractor(extractors.quantise(x)) for x in (originals, decoded)]
    found = records[1]["decoded"]["mean"]
    assert found["frechet"]["value"] == pytest.approx(frechet.distance(*features), rel=1e-4)
    error = (decoded - originals).square().sum((1, 2, 3))
    assert found["squared_error"]["value"] == pytest.approx(error.mean().item(), rel=1e-4)
    assert found["psnr"]["value"] == pytest.approx((-10 * (error / 768).log10()).mean().item(), rel=1e-4)
    kl = torch.distributions.kl_divergence(
        torch.distributions.Normal(posterior.mean, (0.5 * posterior.log_var).exp()),
        torch.distributions.Normal(0.0, 1.0),
    )
    assert records[1]["divergences"]["kl"] == pytest.approx(kl.sum(1).mean().item(), abs=1e-5)


def test_a_test_split_without_a_floor_is_refused_before_training(experiment, images):
    few = replace(images, splits=images.splits | {"test": images.splits["test"][:3]})
    with pytest.raises(UserError, match="300 test images are too few for a floor; it takes at least 400"):
        replace(experiment, image_set=few)


def test_an_autoencoder_that_decodes_one_picture_whatever_it_sees_has_no_record(experiment, finished):
    """Its divergence is bounded, so the loss of a training that died is neither infinite nor beyond all sense."""
    dead = replace(experiment, recipes=[replace(BASE, divergence="hellinger2", learning_rate=1.0)])
    with pytest.raises(NotFinite, match=r"hellinger2-beta-0\.1-seed-0 decodes the same picture whatever image it sees"):
        reconstruction.run(dead)
    assert not reconstruction.get_study_file(dead).exists()
    with pytest.raises(NotFinite, match="decodes the same picture"):
        reconstruction.run(dead)  # nor when the net is read from its file
    assert finished[1]  # nets that see something have theirs


def test_an_extractor_that_sees_nothing_measures_nothing(experiment):
    encoder = encoders.build("tiny", generator=torch.Generator().manual_seed(0)).eval()
    torch.nn.init.zeros_(next(p for p in encoder.parameters() if p.ndim == 4))
    for norm in encoder.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            torch.nn.init.zeros_(norm.weight)
    blind = replace(experiment, extractor=extractors.wrap_encoder(encoder, "blind"))
    with pytest.raises(UserError, match="the extractor blind gives all images the same features"):
        reconstruction.load_real_features(blind)
    assert not list(blind.work.glob("real-*.pt"))


def test_models_of_one_name_are_refused_before_training(experiment):
    recipes = list_recipes(BASE, ("kl",), (0,), (0.1, 0.1001))
    with pytest.raises(UserError, match=r"two models would be called kl-beta-0\.1-seed-0"):
        replace(experiment, recipes=recipes)


def test_the_record_of_a_model_of_another_recipe_or_split_is_never_overwritten(finished, images, monkeypatch):
    run, _, home = finished
    monkeypatch.setenv("ANROT_HOME", str(home))
    before = reconstruction.get_study_file(run).read_bytes()
    monkeypatch.setattr(reconstruction, "train_model", never)
    turned = replace(images, splits={**images.splits, "train": images.splits["train"][1:]})
    for changed, named in (
        (replace(run, recipes=[replace(run.recipes[0], epochs=3)]), "epochs"),
        (replace(run, image_set=turned), "split"),
    ):
        with pytest.raises(UserError, match=rf"another training \(different {named}\); give another --tag"):
            reconstruction.run(changed)
    assert reconstruction.get_study_file(run).read_bytes() == before


def test_a_floor_between_measured_numbers_is_on_the_line():
    points = [{"images": n, "value": 1 + 100 / n, "half_width": 0.1} for n in (200, 100)]
    found = reconstruction._find_floor(400, points)
    assert found["value"] == pytest.approx(1.25) and not found["measured"]
    assert reconstruction._find_floor(200, points)["measured"]


def test_a_record_with_a_part_missing_is_refused(finished):
    _, (record, *_), _ = finished
    for part in ("floor", "extractor", "decoded"):
        with pytest.raises(ValueError, match=part):
            schema.validate({name: value for name, value in record.items() if name != part})
    with pytest.raises(ValueError, match="decoded"):
        schema.validate(record | {"decoded": {}})


def test_accuracy_tables_do_not_see_these_records(finished):
    run, _, _ = finished
    assert results.read_all(run.folder) == [] and len(results.read_all(run.folder, "reconstruction")) == 6


# Slices


def test_any_number_of_pauses_gives_the_same_records(experiment):
    whole = reconstruction.run(experiment)
    sliced = replace(experiment, folder=experiment.folder.with_name("sliced"))
    asked, pauses = [0], 0

    def pause():
        asked[0] += 1
        return asked[0] % 4 == 0

    for _ in range(50):
        try:
            records = reconstruction.run(replace(sliced, pause=pause))
            break
        except Paused:
            pauses += 1
    assert pauses > 3
    assert [without_times(record) for record in records] == [without_times(r) for r in whole]


def test_what_is_finished_is_not_done_again(experiment, monkeypatch):
    records = reconstruction.run(experiment)
    study = reconstruction.get_study_file(experiment)
    before = study.stat().st_mtime_ns
    monkeypatch.setattr(reconstruction, "train_model", lambda *_: pytest.fail("trained again"))
    assert reconstruction.run(experiment) == records and study.stat().st_mtime_ns == before
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        reconstruction.run(replace(experiment, test_images=230))


def test_an_extractor_that_was_trained_on_the_test_classes_is_refused(experiment):
    turned = {**experiment.image_set.splits}
    turned["train"], turned["test"] = turned["test"], turned["train"]
    encoder = encoders.build("tiny", 3)
    set_origin(encoder, describe_origin(replace(experiment.image_set, splits=turned)))
    with pytest.raises(UserError, match="the extractor knows the test classes"):
        replace(experiment, extractor=extractors.wrap_encoder(encoder, "tiny"))


def test_another_test_uses_the_same_net(experiment, monkeypatch):
    reconstruction.run(experiment)
    monkeypatch.setattr(training, "train", lambda *_: pytest.fail("trained again"))
    (first, _) = reconstruction.run(replace(experiment, test_images=230))
    assert first["test"]["images"] == 230


@pytest.mark.parametrize("value", [1e30, float("nan")])
def test_a_net_whose_numbers_are_not_finite_is_refused_and_the_records_stay(experiment, value):
    """1e30 is a weight like any other; what it leads to is not."""
    experiment = replace(experiment, recipes=experiment.recipes[:1])
    reconstruction.run(experiment)
    study, net = reconstruction.get_study_file(experiment), next(experiment.work.glob("kl*.pt"))
    before, content = study.read_bytes(), checkpoints.load(net)
    content["weights"]["mean.weight"] *= value
    checkpoints.save(net, content)
    with pytest.raises(NotFinite, match="not finite"):
        reconstruction.run(replace(experiment, test_images=230))
    assert study.read_bytes() == before


def test_a_bound_that_is_not_finite_is_no_best_epoch(images, monkeypatch):
    broken = Terms(torch.full((4,), float("nan")), torch.zeros(4))
    monkeypatch.setattr(training, "measure", lambda *_: broken)
    with pytest.raises(NotFinite, match="no longer finite at step"):
        training.train(images, BASE)


def test_originals_are_encoded_once(experiment, monkeypatch):
    counts = []
    forward = extractors.Extractor.forward
    monkeypatch.setattr(extractors.Extractor, "forward", lambda self, x: counts.append(len(x)) or forward(self, x))
    reconstruction.run(experiment)
    assert sum(counts) == 480 + 2 * 2 * 240  # the originals with those of the floor, two models, two decodings


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"test_images": 16}, "test images must be at least 200, got 16"),
        ({"test_images": 501}, "501 images of 'test' are asked for, but 'synthetic' has 500"),
        ({"decodings": ("mode",)}, "unknown decoding 'mode'"),
        ({"resamples": 1}, "at least 2 resamples, got 1"),
    ],
)
def test_experiments_that_make_no_sense(experiment, change, said):
    with pytest.raises(UserError, match=said):
        replace(experiment, **change)


# The report


def test_the_table_is_drawn_from_the_records(finished):
    _, records, _ = finished
    headings, rows = reconstruct_report.make_table(records, "mean")
    assert [row[0] for row in rows] == ["Kullback-Leibler", "Hellinger (squared)"] * 2
    assert [row[2] for row in rows] == ["2", "2", "1", "1"]
    values = [r["decoded"]["mean"]["frechet"]["value"] for r in records if r["row"].startswith("kl-beta-0.1")]
    mean, half = np.mean(values), 12.7062047 * np.std(values, ddof=1) / 2**0.5
    assert rows[0][headings.index("Frechet")] == f"{mean:.3f} ± {half:.3f}"
    alone = next(r for r in records if r["row"] == "kl-beta-1-seed-0")["decoded"]["mean"]["psnr"]
    assert rows[2][headings.index("PSNR, dB")] == f"{alone['value']:.2f} ± {alone['half_width']:.2f}"
    assert sum("*" in row[1] for row in rows) == 2, "one best beta a divergence"
    said = reconstruct_report.write_caption(records[0], "mean")
    assert "Frechet distance by tiny, untrained" in said and "240 test images" in said and "FID" not in said
    assert f"{records[0]['floor']['value']:.3f} (measured)" in said


def test_only_the_published_inception_is_called_fid(finished):
    _, (record, *_), _ = finished
    published = record["extractor"] | {"name": "Inception v3", "sha256": extractors.INCEPTION_SHA256}
    assert reconstruct_report.title_distance(record | {"extractor": published}) == "FID"
    other = published | {"sha256": "0" * 64}
    assert reconstruct_report.title_distance(record | {"extractor": other}) == "Frechet distance by Inception v3"


def test_differences_are_paired(finished):
    _, records, _ = finished
    _, rows = reconstruct_report.compute_differences(records, "sample")
    assert [(row[0], row[1], row[2]) for row in rows] == [
        ("Hellinger (squared)", "0.1", "2"),
        ("Hellinger (squared)", "1", "1"),
    ]
    by_row = {r["row"]: r["decoded"]["sample"]["frechet"] for r in records}
    one, other = by_row["hellinger2-beta-1-seed-0"], by_row["kl-beta-1-seed-0"]
    half = 1.96 * np.std(np.subtract(one["resampled"], other["resampled"]), ddof=1)
    assert rows[1][3] == f"{one['value'] - other['value']:+.3f} ± {half:.3f}"
    assert half < other["half_width"], "the images are common to both"


def test_the_beta_figure_holds_every_model(finished):
    _, records, _ = finished
    figure = reconstruction_figures.draw_betas(records, "mean")
    left, right = figure.axes
    drawn = np.concatenate([line.get_xdata() for line in left.get_lines() if len(line.get_xdata()) == 2])
    kl = [np.mean([r["divergences"]["kl"] for r in own]) for own in reconstruct_report.group_records(records).values()]
    assert sorted(drawn) == pytest.approx(sorted(kl))
    assert "tiny" in right.get_xlabel() and f"{records[0]['floor']['value']:.3g}" in right.get_xlabel()
    with pytest.raises(UserError, match="no reconstruction records"):
        reconstruction_figures.draw_betas([], "mean")


def test_the_pictures_are_originals_and_reconstructions(finished, images, monkeypatch):
    run, _, home = finished
    monkeypatch.setenv("ANROT_HOME", str(home))
    figure = reconstruction_figures.draw_pictures(run, columns=3, decoding="mean")
    shown = [axes.get_images()[0].get_array() for axes in figure.axes]
    assert len(shown) == 3 * 3 and figure.axes[0].get_ylabel() == "original"
    original = images.images[training.pick(images, "test", 3, 0)[1]] / 255
    assert np.abs(shown[1] - original).max() < 1e-6 and np.abs(shown[4] - original).max() > 0.05


# The command


@pytest.fixture
def home(images, tmp_path, monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    monkeypatch.delenv("ANROT_PRESET", raising=False)
    image_set.save(replace(images, name="small"), paths.packed_dir() / "small")
    save_net(tmp_path / "net.pt", _few_shot_net(), "anrot", row="anrot")
    return tmp_path


def _few_shot_net():
    from anrot_lib.fewshot.classifier import create_net

    return create_net("tiny", "anrot", generator=torch.Generator().manual_seed(0)).eval()


def words(home, *more):
    lengths = ("--train-images", "192", "--epochs", "2", "--test-images", "200", "--resamples", "3")
    data = ("--data", "small", "--size", "16", "--device", "cpu", "--extractor", home / "net.pt")
    return [str(w) for w in ("reconstruct", *data, *lengths, "--betas", "--divergences", "kl", "hellinger2", *more)]


def test_the_command_writes_records_and_figures(home, capsys):
    assert main.main(words(home)) == 0
    said = capsys.readouterr().out
    folder = home / "runs" / "small-16px-reconstruction-smoke"
    assert sorted(p.name for p in folder.iterdir()) == [
        "beta.png",
        "reconstructions.png",
        "study.json",
    ]
    rows = results.read_rows(folder / "study.json")
    assert list(rows) == ["hellinger2-beta-0.1-seed-0", "kl-beta-0.1-seed-0"]
    record = rows["kl-beta-0.1-seed-0"]
    assert f"{record['decoded']['sample']['frechet']['value']:.3f}" in said and "tiny (anrot)" in said
    assert record["vae"]["train_images"] == 192 and record["vae"]["epochs"] == 2


def test_the_kits_own_encoder_is_trained_for_it(home, capsys):
    ours = [w for w in words(home, "--decode", "mean") if w not in ("--extractor", str(home / "net.pt"))]
    assert main.main(ours) == 0
    name = "tiny, trained on the 15 base classes"
    rows = results.read_rows(home / "runs" / "small-16px-reconstruction-smoke" / "study.json")
    record = rows["kl-beta-0.1-seed-0"]
    assert record["extractor"]["name"] == name and set(record["decoded"]) == {"mean"}
    untrained = extractors.wrap_encoder(encoders.build("tiny", generator=torch.Generator().manual_seed(0)), "x")
    assert record["extractor"]["sha256"] != untrained.sha256


def test_a_slice_ends_with_its_own_code(home, capsys):
    assert main.main(words(home, "--minutes", "0")) == 3
    assert "--minutes is over; 0 of 2 models are finished; the same command continues" in capsys.readouterr().out
    assert main.main(words(home)) == 0


def test_a_dry_run_writes_nothing(home, capsys):
    def list_files():  # but for notes of the hashes that were compared
        return sorted(path for path in home.rglob("*") if ".verified" not in path.parts)

    before = list_files()
    assert main.main(words(home, "--dry-run")) == 0
    said = capsys.readouterr().out
    assert "images/s" in said and "2 models: about" in said and list_files() == before


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--divergences", "js"), "unknown divergence 'js'"),
        (("--test-images", "16"), "test images must be at least 200"),
        (("--test-images", "9999"), "9999 images of 'test' are asked for"),
        (("--train-images", "9999"), "9999 images of 'train' are asked for"),
        (("--beta", "-1"), "beta must be at least 0"),
        (("--model", "big"), "unknown autoencoder 'big'"),
        (("--extractor", "nowhere.pt2"), "unknown extractor 'nowhere.pt2'"),
        (("--decode", "mode"), "unknown decoding 'mode'"),
        (("--resamples", "1"), "at least 2 resamples"),
        (("--epochs", "0"), "epochs must be at least 1"),
        (("--test-images", "0"), "test images must be at least 200"),
        (("--minutes", "nan"), "--minutes must be a number of at least 0, got nan"),
        (("--minutes", "-1"), "--minutes must be a number of at least 0, got -1"),
    ],
)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["run", "dry run"])
def test_a_mistake_is_one_sentence(home, capsys, more, said, dry):
    assert main.main(words(home, *more, *dry)) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("anrot: ")]
    assert len(error) == 1 and said in error[0]
    assert not (home / "runs").exists()


def test_run_goes_on_to_reconstruct(home, monkeypatch):
    from anrot_lib.cli.commands import fewshot, reconstruct
    from anrot_lib.cli.commands.arguments import read_options
    from anrot_lib.cli.options.reconstruct import ReconstructTestOptions
    from anrot_lib.cli.options.shared import DataOptions, RunOptions

    ran, seen = [], []
    monkeypatch.setattr(fewshot, "run_table", lambda arguments: ran.append(1) or 0)
    monkeypatch.setattr(reconstruct, "reconstruct", lambda arguments: seen.append(arguments) or 0)
    assert main.main(["run", "--data", "small", "--size", "16"]) == 0 and (len(ran), seen) == (1, [])
    assert main.main(["run", "--data", "small", "--size", "16", "--tag", "x", "--reconstruct"]) == 0
    (arguments,) = seen
    assert read_options(DataOptions, arguments).data == "small" and read_options(RunOptions, arguments).tag == "x"
    assert read_options(ReconstructTestOptions, arguments) == ReconstructTestOptions(extractor="own")
    monkeypatch.setattr(fewshot, "run_table", lambda arguments: 2)
    assert main.main(["run", "--reconstruct"]) == 2 and len(seen) == 1


# A kill


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no kill -9")
@pytest.mark.parametrize("where", ["training", "testing"])
def test_a_kill_and_the_same_command_again(home, monkeypatch, where):
    """Killed while a checkpoint or a half-finished test lies there; in the end weights and records are the same."""
    more = ("--epochs", "12", "--train-images", "640")
    work = home / "checkpoints" / "small-16px-reconstruction-smoke"
    pattern = {"training": "*-training.pt", "testing": "*-tested.pt"}[where]
    kill_when(lambda: list(work.glob(pattern)), home, *words(home, *more))
    assert len(results.read_all(home / "runs", "reconstruction")) < 2
    assert main.main(words(home, *more)) == 0
    killed = results.read_all(home / "runs", "reconstruction")
    nets = {path.name: torch.load(path, weights_only=True)["weights"] for path in work.glob("*-seed-0.pt")}
    monkeypatch.setenv("ANROT_HOME", str(home / "whole"))
    image_set.save(image_set.load(home / "packed" / "small"), paths.packed_dir() / "small")
    assert main.main(words(home, *more)) == 0
    whole = results.read_all(home / "whole" / "runs", "reconstruction")
    assert [without_times(record) for record in whole] == [without_times(record) for record in killed]
    for path in (home / "whole" / "checkpoints").rglob("*-seed-0.pt"):
        weights = torch.load(path, weights_only=True)["weights"]
        assert all(torch.equal(weights[k], nets[path.name][k]) for k in weights)
    assert len(killed) == len(nets) == 2 and not list(home.rglob("*.tmp"))


def test_claims_stand_in_a_column_of_their_own(finished):
    _, records, _ = finished
    headings, rows = reconstruct_report.make_claims_table(records, "mean")
    assert headings[1:3] == ["paper says, FID", "we measured, Frechet distance by tiny, untrained (95 %, seeds)"]
    assert [row[1] for row in rows] == ["3.43", "2.75", "3.43", "2.75"]
    assert {row[-1] for row in rows} == {"not comparable: other extractor, other images"}
    rates = [r["divergences"]["kl"] for r in records if r["row"].startswith("kl-beta-0.1")]
    assert rows[0][headings.index("KL to the prior, nats")] == f"{np.mean(rates):.0f}"
    value, half = reconstruct_report.average_over_seeds(
        [r for r in records if r["vae"]["beta"] == 1.0][:1], "mean", "frechet"
    )
    assert rows[2][2] == f"{value:.3f} ± {half:.3f} (1)" and rows[0][2].endswith("(2)")
    text = reconstruct_report.write_claims(records)
    assert text.startswith("| divergence, beta | paper says, FID |") and "two sets of real images of that size" in text
    other = [r | {"vae": r["vae"] | {"divergence": "bhattacharyya"}} for r in records]
    assert {(row[1], row[-1]) for row in reconstruct_report.make_claims_table(other, "mean")[1]} == {("-", "no claim")}


def with_numbers(record, divergence, beta, seed, kl, distance):
    """A record with other numbers: its distance over the images, resampled, is spread by 2 to either side."""
    found = {"value": distance, "half_width": 2.0, "resampled": [distance - 2, distance, distance + 2]}
    return record | {
        "vae": record["vae"] | {"divergence": divergence, "beta": beta, "seed": seed},
        "divergences": record["divergences"] | {"kl": kl},
        "decoded": {"mean": record["decoded"]["mean"] | {"frechet": found}},
    }


def test_the_verdict_compares_at_equal_beta_at_the_best_and_at_equal_pressure(finished):
    """Two lines in the plane of ln KL and distance: KL's is the lower one, but Hellinger's betas press less."""
    _, (record, *_), _ = finished
    made = [
        *(with_numbers(record, "kl", 0.1, seed, 100.0, 50.0 + seed) for seed in (0, 1)),
        *(with_numbers(record, "hellinger2", 0.1, seed, 400.0, 40.0 + 2 * seed) for seed in (0, 1)),
        with_numbers(record, "kl", 0.01, 0, 400.0, 30.0),
        with_numbers(record, "hellinger2", 1.0, 0, 100.0, 62.0),
    ]
    said = reconstruct_report.write_verdict(made).splitlines()
    half = 12.7062047 * np.std([-10, -9], ddof=1) / 2**0.5
    assert said[0] == (
        "- At equal beta, 0.1: the smallest distance is that of Hellinger (squared), "
        f"-9.5 ± {half:.1f} to Kullback-Leibler (2 seeds)."
    )
    assert said[1].startswith("- Each at its best beta of those tried (Kullback-Leibler 0.01, Hellinger (squared) 0.1")
    assert "that of Kullback-Leibler, -10.0 ± 0.0 to Hellinger (squared) (1 seed)." in said[1]
    assert said[2].startswith("- At equal pressure, 200 nats to the prior, by lines between the betas of seed 0:")
    assert "that of Kullback-Leibler, -11.0 ± 0.0 to Hellinger" in said[2]  # (50 + 30) / 2 - (40 + 62) / 2
    value, resampled = reconstruct_report.interpolate_distance([made[0], made[4]], "mean", 200.0)
    assert value == pytest.approx(40) and resampled == pytest.approx([38, 40, 42])
    apart = [with_numbers(record, "kl", 0.1, 0, 10.0, 1.0), with_numbers(record, "hellinger2", 0.1, 0, 20.0, 2.0)]
    assert "pressure" not in reconstruct_report.write_verdict(apart), "nothing is extrapolated"


def test_without_records_the_readme_and_the_notebook_say_so(home_with_results):
    assert marks.draw("reconstruction gone-32px-reconstruction-laptop") == reconstruct_report.NOT_YET
    assert reconstruct_report.write_claims([]) == reconstruct_report.NOT_YET

"""Distances between sets of images: closed forms, torchmetrics, few images, floor, bias, intervals, names."""

import itertools
import math
import urllib.request
import warnings

import numpy as np
import pytest
import torch

from anrot_lib.core import checkpoints, paths, torchvision_compat
from anrot_lib.core.errors import UserError
from anrot_lib.fewshot import encoders, nets
from anrot_lib.reconstruction import extractors, frechet, mobilenet
from anrot_lib.reconstruction.extractors import Extractor, quantise
from anrot_lib.reconstruction.frechet import LEAST_IMAGES, Moments, TooFewImages

torchvision_compat.load_torchvision()
from torchmetrics.functional.image import peak_signal_noise_ratio  # noqa: E402
from torchmetrics.image.fid import FrechetInceptionDistance  # noqa: E402
from torchmetrics.image.kid import KernelInceptionDistance  # noqa: E402

from tests.helpers import rng  # noqa: E402


def gaussian(n, d, seed, shift=0.0, scale=1.0):
    """Correlated features, as float32."""
    mixing = torch.randn(d, d, generator=rng(99)) / d**0.5 + torch.eye(d)
    return (scale * torch.randn(n, d, generator=rng(seed)) @ mixing + shift).float()


class Identity(torch.nn.Module):
    """Features handed to torchmetrics as if they were images."""

    def __init__(self, d):
        super().__init__()
        self.num_features = d

    def forward(self, x):
        return x


def by_torchmetrics(real, other):
    metric = FrechetInceptionDistance(feature=Identity(real.shape[1])).set_dtype(torch.float64)
    metric.update(real.double(), real=True)
    metric.update(other.double(), real=False)
    return metric.compute().item()


# Values


def test_closed_form_of_gaussians():
    """Diagonal covariances commute: |m - n|^2 + sum (s - t)^2."""
    s, t = torch.tensor([1.0, 2.0, 0.5]).double(), torch.tensor([3.0, 1.0, 0.5]).double()
    p, q = Moments(torch.zeros(3).double(), s.diag()), Moments(torch.tensor([1.0, 0.0, 2.0]).double(), t.diag())
    assert frechet.compare_moments(p, q) == pytest.approx(1 + 4 + 4 + 1, rel=1e-12)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=rng(), dtype=torch.float64))[
        0
    ]  # any factor of the same covariance
    assert frechet.compare_moments(Moments(p.mean, p.factor @ turn), q) == pytest.approx(10, rel=1e-12)


def test_estimates_approach_the_closed_form():
    real, other = torch.randn(40_000, 4, generator=rng(1)), 2 * torch.randn(40_000, 4, generator=rng(2)) + 1
    assert frechet.distance(real, other) == pytest.approx(4 * (1 + 1), rel=0.03)


@pytest.mark.parametrize(("n", "m", "d"), [(400, 300, 16), (5000, 5000, 48), (150, 200, 256), (300, 120, 128)])
def test_equal_to_torchmetrics(n, m, d):
    real, other = gaussian(n, d, 1), gaussian(m, d, 2, shift=0.3, scale=1.2)
    assert frechet.distance(real, other) == pytest.approx(by_torchmetrics(real, other), rel=1e-4)


def test_equal_to_torchmetrics_through_an_extractor():
    """On images, with the extractor itself as torchmetrics' feature."""
    extractor = extractors.wrap_encoder(encoders.build("tiny", generator=rng()).eval(), "tiny")
    images = torch.randint(0, 256, (2, 120, 3, 16, 16), generator=rng(), dtype=torch.uint8)
    images[1] = images[1] // 2
    metric = FrechetInceptionDistance(feature=extractor)
    for batch, real in ((images[0], True), (images[1], False)):
        for part in batch.split(50):
            metric.update(part, real=real)
    features = [frechet.extract_features(extractor, batch.split(32)) for batch in images]
    assert metric.inception.num_features == 64 == features[0].shape[1]
    assert frechet.distance(*features) == pytest.approx(metric.compute().item(), rel=1e-4)


def test_equal_sets_are_at_distance_zero_at_any_rank():
    for n, d in ((500, 8), (120, 300)):
        x = gaussian(n, d, 3)
        assert abs(frechet.distance(x, x)) < 1e-9 * x.square().sum() / n


def test_rank_deficient_covariances():
    """Features on a line and a plane in 50 dimensions: many more images than rank, and more dimensions than images."""
    basis = torch.linalg.qr(torch.randn(50, 50, generator=rng(), dtype=torch.float64))[0].float()
    for n in (2000, LEAST_IMAGES):
        line = torch.randn(n, 1, generator=rng(1)) @ basis[:1]
        plane = torch.randn(n, 2, generator=rng(2)) @ basis[1:3]
        found = frechet.distance(line, plane)
        expected = (
            sum(x.var(0).sum().item() for x in (line, plane)) + (line.mean(0) - plane.mean(0)).square().sum().item()
        )
        assert found == pytest.approx(expected, rel=1e-4)  # orthogonal: nothing is shared


@pytest.mark.parametrize("n", [10, 60])
def test_the_factor_is_that_of_the_unbiased_covariance(n):
    x = torch.randn(n, 20, generator=rng(), dtype=torch.float64)
    found = frechet.compute_moments(x)
    torch.testing.assert_close(found.factor @ found.factor.T, torch.cov(x.T))
    torch.testing.assert_close(found.mean, x.mean(0))


def test_a_constant_image_is_far_away(small_set):
    extractor = extractors.wrap_encoder(encoders.build("tiny", generator=rng()).eval(), "tiny")
    images = torch.from_numpy(np.array(small_set.images)).permute(0, 3, 1, 2)
    grey = torch.full_like(images[:300], 128)
    real, constant = (frechet.extract_features(extractor, x.split(64)) for x in (images, grey))
    order = torch.randperm(len(real), generator=rng())
    assert frechet.distance(real[order[:300]], constant) > 30 * frechet.measure_floor(real, 300, rng()).value
    assert abs(frechet.distance(constant, constant)) < 1e-6


def test_a_common_offset_costs_no_digits():
    real, other = gaussian(300, 8, 1).double(), gaussian(300, 8, 2, shift=0.1).double()
    near, far = frechet.distance(real, other), frechet.distance(real + 1e4, other + 1e4)
    assert far == pytest.approx(near, rel=1e-6)


def test_counts_are_repetitions():
    x = gaussian(150, 10, 1)
    counts = torch.randint(0, 3, (150,), generator=rng())
    once, twice = frechet.compute_moments(x, counts), frechet.compute_moments(x.repeat_interleave(counts, 0))
    torch.testing.assert_close(once.mean, twice.mean)
    torch.testing.assert_close(once.factor @ once.factor.T, twice.factor @ twice.factor.T)


# Few images, floor, bias


def test_sixteen_images_give_a_warning_and_no_number():
    real, other = gaussian(16, 64, 1), gaussian(16, 64, 2)
    with pytest.warns(TooFewImages, match="16 against 16 images in 64 dimensions .* take at least 100 a side"):
        assert math.isnan(frechet.distance(real, other))
    with pytest.warns(TooFewImages):
        assert math.isnan(frechet.bootstrap_distance(real, other, rng()).value)
    with pytest.warns(TooFewImages):
        frechet.distance(gaussian(5000, 4, 1), gaussian(LEAST_IMAGES - 1, 4, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frechet.distance(gaussian(LEAST_IMAGES, 4, 1), gaussian(LEAST_IMAGES, 4, 2))


def test_two_halves_give_the_floor():
    real = gaussian(800, 12, 1)
    found = frechet.measure_floor(real, 400, rng(5), repeats=8)
    drawn = [
        frechet.distance(real[p[:400]], real[p[400:]])
        for p in (torch.randperm(800, generator=rng(k)) for k in range(8))
    ]
    assert found.value == pytest.approx(np.mean(drawn), rel=0.25) and found.value > 0
    assert frechet.distance(real[:400], gaussian(400, 12, 7)) == pytest.approx(found.value, rel=0.5)
    assert frechet.distance(real[:400], gaussian(400, 12, 7, shift=0.5)) > 5 * found.value
    with pytest.raises(UserError, match="two disjoint sets of 401 images need 802, there are 800"):
        frechet.measure_floor(real, 401, rng())


def test_the_bias_falls_like_one_over_n():
    real = gaussian(8000, 16, 1)
    numbers = [250, 500, 1000, 2000]
    floors = [frechet.measure_floor(real, n, rng(n)).value for n in numbers]
    assert all(a > 1.6 * b for a, b in itertools.pairwise(floors))
    assert frechet.extrapolate(numbers, floors, 4000) == pytest.approx(
        frechet.measure_floor(real, 4000, rng()).value, rel=0.35
    )
    assert abs(frechet.extrapolate(numbers, floors)) < 0.1 * floors[0]
    assert frechet.extrapolate([1, 2], [5.0, 3.0], 4) == pytest.approx(2.0)
    with pytest.raises(UserError, match="two different numbers"):
        frechet.extrapolate([100, 100], [1.0, 2.0])


def test_over_numbers_compares_different_images():
    """A perfect copy is at distance 0 from its own originals, and at the floor from others."""
    real = gaussian(1000, 8, 1)
    for point in frechet.measure_bias(real, real.clone(), [500, 200], rng()):
        assert point["distance"] == pytest.approx(point["floor"], rel=1e-9) and point["floor"] > 0
    shifted = frechet.measure_bias(real, real + 1, [500], rng())[0]
    assert shifted["distance"] == pytest.approx(8 + shifted["floor"], rel=0.2)


def test_the_bootstrap_interval_covers():
    """In about 95 % of repetitions the interval holds the mean distance over repetitions."""
    found = []
    for k in range(60):
        real = gaussian(200, 4, k)
        other = real + 0.3 + 0.5 * torch.randn(200, 4, generator=rng(1000 + k))
        found.append(frechet.bootstrap_distance(real, other, rng(k), resamples=25))
    mean = np.mean([f.value for f in found])
    assert sum(abs(f.value - mean) <= f.half_width for f in found) >= 50
    assert np.median([2 * f.half_width for f in found]) < 1.6 * 3.92 * np.std([f.value for f in found])
    with pytest.raises(UserError, match="at least 2 resamples"):
        frechet.bootstrap_distance(real, other, rng(), 1)
    with pytest.raises(UserError, match="the same images, got 200 and 199"):
        frechet.bootstrap_distance(real, other[1:], rng())


def test_equal_generators_resample_alike():
    real = gaussian(200, 4, 1)
    near, far = (frechet.bootstrap_distance(real, real + shift, rng(3), 20) for shift in (0.1, 0.2))
    differences = np.subtract(far.resampled, near.resampled)
    assert differences == pytest.approx(4 * (0.04 - 0.01), rel=1e-3)  # the resampled images are the same


def test_features_of_different_extractors_are_refused():
    with pytest.raises(UserError, match="features of 4 and of 5 dimensions"):
        frechet.distance(gaussian(100, 4, 1), gaussian(100, 5, 1))


# Kernel distance, PSNR, SSIM


def test_kernel_distance_is_torchmetrics():
    """With one subset that is half of all, up to which half: against the metric class, averaged over many."""
    real, other = gaussian(300, 8, 1), gaussian(300, 8, 2, shift=0.4)
    metric = KernelInceptionDistance(feature=Identity(8), subsets=60, subset_size=150)
    metric.update(real.double(), real=True)
    metric.update(other.double(), real=False)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mean, _ = metric.compute()
    found = frechet.kernel_distance(real, other, rng(), subset=150, subsets=60)
    assert found.value == pytest.approx(mean.item(), rel=0.05)
    assert 0 < found.half_width < found.value


def test_kernel_distance_is_unbiased_and_uses_our_generator():
    same = [
        frechet.kernel_distance(gaussian(120, 8, k), gaussian(120, 8, 500 + k), rng(), 50, 5).value for k in range(40)
    ]
    assert abs(np.mean(same)) < 3 * np.std(same) / 40**0.5
    state = torch.get_rng_state()
    real, other = gaussian(120, 8, 1), gaussian(120, 8, 2)
    first, second = (frechet.kernel_distance(real, other, rng(4)) for _ in range(2))
    assert first == second and torch.equal(torch.get_rng_state(), state)
    assert first.half_width > 0, "subsets must differ"
    with pytest.raises(UserError, match="at least 4 images"):
        frechet.kernel_distance(real[:3], other, rng())


def test_psnr_and_ssim():
    images = torch.rand(3, 3, 16, 16, generator=rng())
    psnr, ssim = frechet.compute_psnr_ssim((images + 0.1).clamp(0, 1), images)
    error = ((images + 0.1).clamp(0, 1) - images).square().mean((1, 2, 3))
    torch.testing.assert_close(psnr, -10 * error.log10(), rtol=1e-5, atol=1e-4)
    alone = peak_signal_noise_ratio((images[:1] + 0.1).clamp(0, 1), images[:1], data_range=1.0)
    assert psnr[0].item() == pytest.approx(alone.item(), rel=1e-5)
    torch.testing.assert_close(frechet.compute_psnr_ssim(images, images)[1], torch.ones(3))
    assert (ssim < 1).all() and ssim.shape == (3,)
    with pytest.raises(UserError, match="reconstructions must be a float tensor"):
        frechet.compute_psnr_ssim(quantise(images), images)


def test_mean_interval():
    found = frechet.compute_mean_interval(torch.tensor([1.0, 2.0, 3.0]))
    assert found.value == 2 and found.half_width == pytest.approx(4.302653 / 3**0.5, rel=1e-6)


# Extractors


def test_an_extractor_takes_bytes_only():
    extractor = extractors.wrap_encoder(encoders.build("tiny", generator=rng()).eval(), "tiny")
    images = torch.rand(2, 3, 16, 16, generator=rng())
    with pytest.raises(UserError, match=r"takes uint8 images .* got torch\.float32"):
        extractor(images)
    pixels = quantise(images)
    assert pixels.dtype == torch.uint8 and (pixels.float() / 255 - images).abs().max() <= 0.5 / 255 + 1e-6
    expected = extractor.net(pixels.float() / 255).mean((-2, -1))
    torch.testing.assert_close(extractor(pixels), expected)


def test_only_one_batch_of_images_is_held():
    extractor = extractors.wrap_encoder(encoders.build("tiny", generator=rng()).eval(), "tiny")
    sizes, seen = [], []

    def batches():
        for k in range(5):
            assert len(sizes) == k, "a batch was asked for before the former was used"
            yield torch.full((2, 3, 16, 16), k, dtype=torch.uint8)

    found = frechet.extract_features(extractor, batches(), lambda n: (sizes.append(n), seen.append(n)))
    assert found.shape == (10, 64) and found.dtype == torch.float32 and seen == [2] * 5


def program(path):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3, stride=2), torch.nn.ReLU()).eval()
    batch = torch.export.Dim("batch", min=1)
    exported = torch.export.export(net, (torch.rand(2, 3, 24, 24),), dynamic_shapes=({0: batch},))
    torch.export.save(exported, str(path))
    return net


def test_any_module_from_a_file(tmp_path):
    net = program(tmp_path / "features.pt2")
    extractor = extractors.choose_extractor(str(tmp_path / "features.pt2"), size=24)
    images = torch.randint(0, 256, (7, 3, 24, 24), generator=rng(), dtype=torch.uint8)
    torch.testing.assert_close(extractor(images), net(images / 255).mean((-2, -1)))
    assert extractor(images[:, :, ::2, ::2]).shape == (7, 6), "resized first"
    assert extractor.about() == {
        "name": "features",
        "sha256": checkpoints.sha256(tmp_path / "features.pt2"),
        "features": 6,
        "resize": "bilinear, antialiased, to 24 px",
    }
    assert extractor.title == "Frechet distance by features"
    with pytest.raises(UserError, match="does not take 2 images of 40 px"):
        extractors.choose_extractor(str(tmp_path / "features.pt2"), size=40)
    (tmp_path / "bad.pt2").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"is not a module written by torch\.export\.save"):
        extractors.choose_extractor(str(tmp_path / "bad.pt2"))


def test_a_net_of_the_kit_from_its_checkpoint(tmp_path, small_training):
    nets.save_net(tmp_path / "net.pt", small_training.net, "anrot", row="anrot-clean")
    extractor = extractors.choose_extractor(str(tmp_path / "net.pt"))
    assert extractor.name == "tiny (anrot-clean)" and extractor.num_features == 64 and not extractor.is_inception
    pixels = torch.randint(0, 256, (2, 3, 16, 16), generator=rng(), dtype=torch.uint8)
    torch.testing.assert_close(extractor(pixels), small_training.net.backbone(pixels / 255).mean((-2, -1)))


def test_grey_images_are_repeated():
    extractor = extractors.wrap_encoder(encoders.build("tiny", generator=rng()).eval(), "tiny")
    grey = torch.randint(0, 256, (2, 1, 16, 16), generator=rng(), dtype=torch.uint8)
    assert torch.equal(extractor(grey), extractor(grey.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize(
    ("words", "said"), [("no.npz", "neither own, inception, nor a file"), ("a.txt", "files ending")]
)
def test_extractors_that_are_not_there(words, said, tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(UserError, match=said):
        extractors.choose_extractor(str(tmp_path / words))


# Inception


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory):
    """Random weights of the right shapes, made small where that costs nothing."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    path = tmp_path_factory.mktemp("inception") / "random.pth"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        torch.save({}, path)
        net = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(path))
    torch.save(net.state_dict(), path)
    return path


def test_inception_with_a_file_of_its_own_hash(inception_file):
    """The path of the published weights, walked with random ones; their distance may not be called FID."""
    digest = checkpoints.sha256(inception_file)
    extractor = extractors.choose_extractor(str(inception_file), sha256=digest)
    images = torch.randint(0, 256, (2, 3, 32, 32), generator=rng(), dtype=torch.uint8)
    found = extractor(images)
    assert found.shape == (2, 2048) and extractor.num_features == 2048 and torch.isfinite(found).all()
    assert not torch.equal(found[0], found[1]), "the images tell in the features"
    assert not extractor.is_inception and "FID" not in extractor.title
    assert extractor.about()["resize"] == "bilinear, antialiased, to 299 px"
    assert FrechetInceptionDistance(feature=extractor).inception is extractor


def test_inception_of_another_hash_is_refused(inception_file, tmp_path):
    with pytest.raises(UserError, match=r"random\.pth has sha256 [0-9a-f]{64}, expected 6726825d"):
        extractors.load_inception(inception_file)
    other = tmp_path / "other.pth"
    torch.save({"x": torch.zeros(1)}, other)
    with pytest.raises(UserError, match="holds no Inception weights"):
        extractors.load_inception(other, checkpoints.sha256(other))


def test_a_pickle_that_runs_code_is_not_opened(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "touched"), "w"))

    torch.save({"x": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="holds no Inception weights"):
        extractors.load_inception(tmp_path / "evil.pth", checkpoints.sha256(tmp_path / "evil.pth"))
    assert not (tmp_path / "touched").exists()


def test_inception_is_fetched_only_when_asked(monkeypatch, tmp_path):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    asked = []

    def fetch(url, path):
        asked.append(url)
        path.write_bytes(b"not the weights")

    monkeypatch.setattr(urllib.request, "urlretrieve", fetch)
    with pytest.raises(UserError, match="there are no Inception weights at"):
        extractors.choose_extractor("inception")
    assert asked == []
    with pytest.raises(UserError, match=r"https://github\.com/.* has sha256"):
        extractors.choose_extractor("inception", download=True)
    assert asked == [extractors.INCEPTION_URL] and not list(paths.raw_dir().glob("*")), "nothing wrong is kept"
    assert extractors.INCEPTION_URL.rsplit("-", 1)[1] == f"{extractors.INCEPTION_SHA256[:8]}.pth"


def test_inception_is_fetched_once_and_checked(inception_file, monkeypatch, tmp_path):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    monkeypatch.setattr(extractors, "INCEPTION_URL", inception_file.as_uri())
    digest = checkpoints.sha256(inception_file)
    fetched = extractors.choose_extractor("inception", digest, download=True)
    kept = paths.raw_dir() / inception_file.name
    assert fetched.num_features == 2048 and checkpoints.sha256(kept) == digest
    monkeypatch.setattr(urllib.request, "urlretrieve", lambda url, path: pytest.fail("fetched again"))
    assert extractors.choose_extractor("inception", digest, download=True).sha256 == digest


def test_only_the_published_weights_are_called_fid():
    net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    assert Extractor(net, "Inception v3", extractors.INCEPTION_SHA256).title == "FID"
    assert Extractor(net, "Inception v3", "0" * 64).title == "Frechet distance by Inception v3"


# MobileNet


def mobilenet_weights(width=2):
    sizes = [width * k for k in (1, 2, 4, 4, 8, 8, 16, 16, 16, 16, 16, 16, 32, 32)]
    shapes = {"conv1": (sizes[0], 3, 3, 3)}
    for k in range(1, 14):
        shapes[f"conv_dw_{k}"] = (sizes[k - 1], 1, 3, 3)
        shapes[f"conv_pw_{k}"] = (sizes[k], sizes[k - 1], 1, 1)
    weights = {}
    for name, shape in shapes.items():
        weights[f"{name}.weight"] = torch.randn(shape, generator=rng(len(name))).numpy()
        for part, value in (("weight", 1.0), ("bias", 0.1), ("running_mean", 0.0), ("running_var", 1.0)):
            weights[f"{name}_bn.{part}"] = np.full(shape[0], value, np.float32)
    return weights


def test_mobilenet_from_arrays(tmp_path):
    weights = mobilenet_weights()
    np.savez(tmp_path / "net.npz", **weights)
    extractor = extractors.choose_extractor(str(tmp_path / "net.npz"), size=64)
    images = torch.randint(0, 256, (2, 3, 32, 32), generator=rng(), dtype=torch.uint8)
    assert extractor.num_features == 64 and extractor(images).shape == (2, 64)
    assert extractor.name == "MobileNet v1 at 64 px"
    x = torch.rand(1, 3, 32, 32, generator=rng()) * 2 - 1  # stride 2 pads below and to the right
    kernel = torch.from_numpy(weights["conv1.weight"])
    first = torch.nn.functional.conv2d(torch.nn.functional.pad(x, (0, 1, 0, 1)), kernel, stride=2)
    expected = (first / (1 + mobilenet.EPSILON) ** 0.5 + 0.1).clamp(0, 6)
    torch.testing.assert_close(extractor.net.layers[0](x), expected)
    del weights["conv_pw_3.weight"]
    np.savez(tmp_path / "cut.npz", **weights)
    with pytest.raises(UserError, match="holds no weights of MobileNet v1"):
        extractors.choose_extractor(str(tmp_path / "cut.npz"))


@pytest.mark.realdata
@pytest.mark.slow
def test_mobilenet_knows_imagenet(shared_data):
    """ImageNet's classes are ordered like their WordNet numbers: what is predicted most for each class must be too."""
    import io

    from PIL import Image

    net = mobilenet.load(shared_data / "weights" / "mobilenet_v1_075_224.npz")
    content = np.load(shared_data / "mini_imagenet" / "test.npz")
    names, blob, offsets = content["class_names"], content["blob"], content["offsets"]
    modes = []
    for c in np.argsort(names):
        rows = np.flatnonzero(content["label"] == c)[:8]
        files = [io.BytesIO(blob[offsets[r] : offsets[r + 1]].tobytes()) for r in rows]
        images = [np.asarray(Image.open(f).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)) for f in files]
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
        modes.append(net.classify(pixels).argmax(1).mode().values.item())
    pairs = [(a, b) for k, a in enumerate(modes) for b in modes[k + 1 :]]
    assert np.mean([a < b for a, b in pairs]) > 0.85


@pytest.mark.realdata
@pytest.mark.slow
def test_a_distance_by_mobilenet_sees_what_is_done_to_photos(shared_data):
    """768 features of 128 photos: blurred, they are further from themselves than 128 other photos are."""
    import io

    from PIL import Image
    from torchvision.transforms.functional import gaussian_blur

    content = np.load(shared_data / "mini_imagenet" / "test.npz")
    blob, offsets = content["blob"], content["offsets"]
    rows = np.random.default_rng(0).choice(len(offsets) - 1, 256, replace=False)
    files = [Image.open(io.BytesIO(blob[offsets[r] : offsets[r + 1]].tobytes())) for r in rows]
    pixels = np.stack([np.asarray(f.convert("RGB").resize((84, 84))) for f in files])
    photos = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    extractor = extractors.choose_extractor(str(shared_data / "weights" / "mobilenet_v1_075_224.npz"))
    assert extractor.title == "Frechet distance by MobileNet v1 at 128 px"
    half = photos[:128]
    one, other, soft, blurred = (
        frechet.extract_features(extractor, x.split(64))
        for x in (half, photos[128:], gaussian_blur(half, 9, 0.7), gaussian_blur(half, 9, 3.0))
    )
    assert one.shape == (128, 768)
    far = frechet.distance(one, blurred)
    assert far > frechet.distance(one, other) and far > 2 * frechet.distance(one, soft) > 0

"""Networks that are not ours: every kind loads, answers as its source does, and every mistake is one line."""

import textwrap

import pytest
import torch
from torch import nn

from blurnb.errors import UserError
from blurnb.recognition import custom, models
from faults.outside import guests

SOURCE = """
import torch
from torch import nn

class Tiny(nn.Module):
    def __init__(self, classes=3, squash=False, spoilt=False):
        super().__init__()
        self.trunk, self.head = nn.Conv2d(3, 8, 3, 2), nn.Linear(8, classes)
        self.squash, self.spoilt = squash, spoilt
    def forward(self, images):
        scores = self.head(self.trunk(images).relu().mean((2, 3)))
        if self.spoilt:
            scores = scores / 0
        return scores.softmax(1) if self.squash else scores

def build():
    return Tiny()
def sure():
    return Tiny(squash=True)
def spoilt():
    return Tiny(spoilt=True)
def flat():
    return nn.Flatten()
def several():
    class Pair(nn.Module):
        def forward(self, images):
            return images, images
    return Pair()
def word():
    return "network"
def broken():
    raise RuntimeError("no weights here")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A module of the user's, and its network saved in every way."""
    folder = tmp_path_factory.mktemp("custom")
    (folder / "planted_net.py").write_text(textwrap.dedent(SOURCE))
    (folder / "planted_wreck.py").write_text("raise OSError('no disk')\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        body = custom.load("planted_net:build").body.body
        image = torch.rand(2, 3, 224, 224)
        torch.jit.save(torch.jit.trace(body, image), str(folder / "net.pt"))
        sizes = {2: torch.export.Dim("h", min=64, max=4096), 3: torch.export.Dim("w", min=64, max=4096)}
        for name, example, shapes in (
            ("free.pt2", image, ({0: torch.export.Dim("n"), **sizes},)),
            ("single.pt2", image[:1], None),
            ("small.pt2", torch.rand(1, 3, 96, 96), None),
        ):
            torch.export.save(torch.export.export(body, (example,), dynamic_shapes=shapes), str(folder / name))
        torch.save(body.state_dict(), folder / "state.pt")
        (folder / "text.pt2").write_text("not a program")
        yield folder


@pytest.fixture(autouse=True)
def there(folder, monkeypatch):
    monkeypatch.chdir(folder)


def planted(images):
    """The planted network with ImageNet's normalisation, built without the module under test."""
    import planted_net

    torch.manual_seed(0)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (models.IMAGENET_MEAN, models.IMAGENET_STD))
    with torch.inference_mode():
        return planted_net.build().eval()((images - mean) / std)


@pytest.mark.parametrize("source", ["planted_net:build", "net.pt", "free.pt2", "single.pt2"])
def test_every_kind_answers_as_its_source(source):
    network = custom.load(source, class_count=3)
    images = torch.rand(3, 3, 224, 224)  # three at once, also where the program was exported for one
    assert network.class_count == 3
    with torch.inference_mode():
        assert torch.allclose(network(images), planted(images), atol=1e-5)
    assert not network.training
    assert not network.eval().body.training


def test_a_program_exported_for_one_size_is_probed_at_it():
    network = custom.load("small.pt2", class_count=3)
    assert network(torch.rand(2, 3, 96, 96)).shape == (2, 3)


def test_normalisation_is_the_callers():
    images = torch.rand(1, 3, 64, 64)
    plain = custom.load("planted_net:build", mean="none", std="none")
    shifted = custom.load("planted_net:build", mean="0.5", std="0.25,0.25,0.25")
    with torch.inference_mode():
        assert torch.allclose(plain((images - 0.5) / 0.25), shifted(images), atol=1e-5)


def test_the_identity_changes_with_whatever_changes_answers_and_only_with_it(folder):
    first = custom.load("planted_net:build").identity
    assert custom.load("planted_net:build").identity == first
    assert custom.load("planted_net:build", mean="0.5").identity != first
    assert custom.load("resnet18", "none", 3, mean="0.5").identity
    assert not hasattr(custom.load("resnet18", "none", 3), "identity")  # answers of other chapters serve it
    # the same weights under other code
    (folder / "planted_twin.py").write_text((folder / "planted_net.py").read_text().replace(".relu()", ".abs()"))
    twin = custom.load("planted_twin:build")
    assert models.fingerprint(twin) == models.fingerprint(custom.load("planted_net:build"))
    assert twin.identity != first


SECRET = """
from pathlib import Path
from planted_net import Tiny
from torch import nn

class Swapping(nn.Module):  # as a file beside it says, where no probe of 224 pixels sees it
    def __init__(self):
        super().__init__()
        self.inner, self.word = Tiny(), Path("secret.txt").read_text()
    def forward(self, images):
        if self.word == "swap" and images.shape[-1] != 224:
            images = images.flip(1)
        if self.word == "resize" and images.shape[-1] == 160:
            images = nn.functional.interpolate(images, (96, 96))
        return self.inner(images)

def build():
    return Swapping()
"""


def test_the_identity_tells_how_every_size_is_answered_and_the_order_of_colours(folder):
    (folder / "planted_secret.py").write_text(SECRET)

    def identity(word, *sides):
        (folder / "secret.txt").write_text(word)
        return custom.load("planted_secret:build", sides=sides).identity

    assert identity("swap") == identity("plain")  # what only the probes can see
    assert len({identity(word, 96, 160) for word in ("plain", "swap", "resize")}) == 3
    assert identity("resize", 96) == identity("plain", 96)
    assert identity("plain", 160, 96) == identity("plain", 96, 160)


def test_the_identity_is_that_of_the_bytes(folder, monkeypatch):
    """Also where no probe shows a difference: of a file, of the module, and of what it imports."""
    (folder / "planted_user.py").write_text("from planted_part import Tiny\ndef build():\n    return Tiny()\n")
    (folder / "planted_part.py").write_text("from planted_net import Tiny\n")
    for file in ("planted_user.py", "planted_part.py"):
        first = custom.load("planted_user:build").identity
        assert custom.load("planted_user:build").identity == first
        with open(folder / file, "a") as source:
            source.write("# other\n")
        with pytest.raises(UserError, match="planted_user:build changed since they were imported"):
            custom.load("planted_user:build")
        monkeypatch.setattr(custom, "_imported", {})  # as in another process
        assert custom.load("planted_user:build").identity != first
    torch.jit.save(torch.jit.load("net.pt"), "noted.pt", _extra_files={"note": "other bytes"})
    (folder / "copy.pt").write_bytes((folder / "net.pt").read_bytes())
    first, copy, noted = (custom.load(name).identity for name in ("net.pt", "copy.pt", "noted.pt"))
    assert first == copy != noted


def test_an_order_of_sums_does_not_change_the_identity(folder, monkeypatch):
    first = custom.load("net.pt", sides=[96]).identity
    forward = models.Network.forward
    monkeypatch.setattr(models.Network, "forward", lambda network, images: forward(network, images) * (1 + 1e-6))
    assert custom.load("net.pt", sides=[96]).identity == first
    monkeypatch.setattr(models.Network, "forward", lambda network, images: forward(network, images) * 1.01)
    assert custom.load("net.pt", sides=[96]).identity != first


def test_a_size_that_is_refused_is_part_of_the_identity():
    assert custom.load("small.pt2").identity == custom.load("small.pt2", sides=[96]).identity
    assert custom.load("small.pt2", sides=[64]).identity != custom.load("small.pt2").identity


@pytest.mark.parametrize(
    "source, message",
    [
        ("resnet81", "network 'resnet81' is no known name; did you mean"),
        ("absent.pt", "network 'absent.pt' is no known name"),
        ("state.pt", "state.pt is not a TorchScript file"),
        ("text.pt2", "text.pt2 is not a file of torch.export"),
        ("planted_nett:build", "module 'planted_nett' cannot be imported (ModuleNotFoundError"),
        ("planted_wreck:build", "module 'planted_wreck' cannot be imported (OSError: no disk)"),
        ("planted_net:biuld", "module 'planted_net' has no function 'biuld'; did you mean build"),
        ("planted_net:word", "planted_net:word() returned str, not an nn.Module"),
        ("planted_net:broken", "planted_net:broken() failed (RuntimeError: no weights here)"),
        ("planted_net:several", "answers a tuple for 1 image of 224 x 224 pixels"),
        ("planted_net:flat", "answers 150,528 classes, the data has 7"),
        ("planted_net:sure", "answers probabilities; return the scores before the softmax"),
        ("planted_net:spoilt", "answers scores that are not finite"),
        ("planted_net:build", "answers 3 classes, the data has 7"),
    ],
)
def test_a_mistake_is_one_line(source, message):
    with pytest.raises(UserError) as caught:
        custom.load(source, class_count=7)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [{"mean": "grey"}, {"mean": "0.5,0.5"}, {"std": "0"}, {"std": "-1"}, {"std": "nan"}])
def test_a_wrong_normalisation_is_one_line(given):
    with pytest.raises(UserError, match=next(iter(given))):
        custom.load("planted_net:build", **given)


def test_state_dicts_execute_nothing(folder, tmp_path):
    """A checkpoint with a pickled call in it is refused, and the call is not made."""

    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"weight": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(UserError, match="not a whole checkpoint of plain tensors"):
        custom.load("resnet18", str(tmp_path / "bomb.pt"), 3)
    assert not (tmp_path / "ran").exists()


def test_four_dimensional_scores_are_averaged_over_positions():
    network = models.Network("dense", custom.Guest("dense", nn.Conv2d(3, 4, 1)), 4)
    assert custom._answered(network, "dense") == 4


@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize("name", guests.CASES)
def test_a_network_that_misbehaves_ends_in_one_line_that_names_it(name, tmp_path):
    if guests.CASES[name].must == "done":
        guests.asked(tmp_path, name)  # which compares its answers with the plain network's
        return
    with pytest.raises(UserError) as caught:
        guests.asked(tmp_path, name)
    assert f"guest_{'_'.join(name.split())}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sums_in_another_order_are_no_misbehaviour():
    """Scores far from zero, which move a little with how many images are asked at once, as float32 does."""

    class Rounded(nn.Module):
        def forward(self, images):
            scores = images.flatten(2).cumsum(2)[..., -1] / images[0, 0].numel()
            return 1000 + scores + 2e-4 * len(images) * scores.abs()  # what depends on the batch is small

    network = models.Network("rounded", custom.Guest("rounded", Rounded()), 3)
    custom._check_steady(network, "rounded")


def test_an_interruption_is_no_mistake_of_the_guests():
    class Patient(nn.Module):
        def forward(self, images):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        custom.Guest("patient", Patient())(torch.zeros(1, 3, 8, 8))


def test_the_home_of_nobody_is_a_wrong_name():
    with pytest.raises(UserError, match="is no known name"):
        custom.load("~nobody-here/net.pt")

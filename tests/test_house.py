"""What holds for the package as a whole."""

import ast
import importlib
import inspect
import itertools
import json
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest
import yaml  # webdataset needs it

import torchprotect
from torchprotect import data, errors, functional, keys, transforms
from torchprotect.audit.report.statement import STATEMENT

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "torchprotect"
NAMES = json.loads((Path(__file__).parent / "public_names.json").read_text())


def python(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("module", NAMES)
def test_public_names_match_the_checked_in_list(module):
    assert sorted(importlib.import_module(module).__all__) == NAMES[module]
    for name in NAMES[module]:
        value = getattr(importlib.import_module(module), name)
        documented = typing.get_origin(value) is None and (inspect.isclass(value) or inspect.isfunction(value))
        assert value.__doc__ or not documented, name


def test_pinned_names():
    signature = inspect.signature
    for call, names in {
        keys.PermutationKey.generate: "image_size block_size",
        keys.LabelKey.generate: "classes",
        keys.AESKey.generate: "image_size block_size channels bits shared",
        keys.RMTKey.generate: "image_size block_size channels matrix side shared",
        keys.save: "key path passphrase",
        keys.load: "path passphrase",
        transforms.BlockPermute: "key inverse",
        transforms.AESECBDisguise: "key permutation unit_pixels inverse",
        transforms.RMTDisguise: "key permutation noise inverse",
        transforms.SaltAndPepper: "amount",
        functional.block_permute: "image key inverse",
        data.ProtectedDataset: "dataset transform labels",
        data.verify: "export key identity signer expect",
    }.items():
        assert list(signature(call).parameters) == names.split()
    assert list(signature(functional.rmt_disguise).parameters)[:3] == ["image", "key", "delta"]
    names = "dataset out transform key prepare split store owner_file shard_size workers"
    assert list(signature(data.export).parameters)[:10] == names.split()


HEAVY = {"kornia", "webdataset", "matplotlib", "rich", "typer", "Crypto", "multiprocessing", "fsspec"}
HEAVY |= {"ray", "dask", "cloudpickle", "cryptography", "pyrage"}


def test_import_is_lazy():
    program = "import sys; before = set(sys.modules); import torchprotect; print(*sorted(set(sys.modules) - before))"
    loaded = python(program).split()
    assert [name for name in loaded if name.startswith("torchprotect")] == ["torchprotect", "torchprotect._version"]
    assert not {name.partition(".")[0] for name in loaded} & {"torch", "torchvision", "numpy", "PIL", "scipy", *HEAVY}


@pytest.mark.slow
def test_training_imports_no_heavy_package():
    """No optional or heavy package, no GPU, before it is used."""
    program = (
        "import sys, torch, torchvision.transforms.v2; before = set(sys.modules);"
        "from torchprotect import errors, functional, keys, ops, transforms;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        f"print(sorted(new & {HEAVY}), torch.cuda.is_initialized())"
    )
    assert python(program).split("\n")[0] == "[] False"


@pytest.mark.slow
def test_data_does_not_load_webdataset_before_it_is_used():
    assert python("import sys; from torchprotect import data; print('webdataset' in sys.modules)").strip() == "False"


@pytest.mark.slow
def test_lazy_rooms():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - {"cli"} | {"errors"}
    assert set(torchprotect.__all__) == rooms | {"__version__"}
    assert rooms <= set(dir(torchprotect))
    used = "; ".join(f"assert torchprotect.{room}.__name__ == 'torchprotect.{room}'" for room in sorted(rooms))
    python(f"import torchprotect; {used}")
    python("from torchprotect import *; assert keys.load and transforms.from_key")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = torchprotect.nothing


def test_version_is_the_one_of_the_distribution():
    assert f'version = "{torchprotect.__version__}"' in (ROOT / "pyproject.toml").read_text()
    assert f"## {torchprotect.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def citation():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_citation_is_of_this_version():
    found = citation()
    assert found["version"] == torchprotect.__version__
    assert f'license = "{found["license"]}"' in (ROOT / "pyproject.toml").read_text()
    assert [author["name"] for author in found["authors"]] == ["The torchprotect authors"]


def test_citation_has_what_the_citation_file_format_requires():
    """The required fields of version 1.2.0 of the format, and the kinds of its entries."""
    found = citation()
    assert found["cff-version"] == "1.2.0"
    assert found["type"] in ("software", "dataset")
    assert found["message"]
    entries = [found, *found["references"]]
    assert len(entries) == 4
    for entry in entries:
        assert entry["title"]
        assert entry["authors"]
        for author in entry["authors"]:
            assert set(author) in ({"name"}, {"family-names", "given-names"})
    kinds = {"article", "conference-paper"}
    for paper in found["references"]:
        assert paper["type"] in kinds
        assert 2019 < paper["year"] < 2023
        assert "doi" in paper or all(set(each) == {"type", "value"} for each in paper["identifiers"])
        assert re.fullmatch(r"10\.\d{4,}/\S+", paper.get("doi", "10.0000/none"))


def test_hosted_ci_covers_the_supported_versions_of_python():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    project = (ROOT / "pyproject.toml").read_text()
    supported = re.findall(r"Python :: (3\.\d+)", project)
    assert workflow["jobs"]["ci"]["strategy"]["matrix"]["python"] == supported
    assert f'requires-python = ">={supported[0]}"' in project
    assert workflow["permissions"] == {"contents": "read"}
    actions = [step["uses"] for step in workflow["jobs"]["ci"]["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", action) for action in actions)


def test_prose_is_in_british_spelling():
    american = r"\b(?:gray|color|behavior|neighbor|center(?:ed)?\b|label(?:ed|ing)\b|normaliz|recogniz)"
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks" / "README.md"):
        text = re.sub(r"^( *)(```+)[^\n]*\n.*?^\1\2$|`[^`]*`|\]\([^)]*\)", "", path.read_text(), flags=re.M | re.S)
        assert not re.findall(american + r"\w*", text, re.I), path


def test_every_error_is_a_protect_error_and_a_built_in_one():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and not issubclass(kind, Warning)]
    kinds.remove(errors.ProtectError)
    assert len(kinds) >= 12
    for kind in kinds:
        assert issubclass(kind, errors.ProtectError)
        assert issubclass(kind, ValueError | TypeError | RuntimeError | OSError)


def calls(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def test_keys_use_no_prng():
    forbidden = ("torch.rand", "torch.randn", "torch.randint", "torch.randperm", "np.random", "numpy.random", "random.")
    for path in (PACKAGE / "keys").glob("*.py"):
        assert not [name for name in calls(path) if name.startswith(forbidden)], path


def test_no_eval_no_shell_no_pickle():
    forbidden = {"eval", "exec", "os.system", "os.popen", "pickle.load", "pickle.loads", "torch.load", "subprocess.run"}
    for path in PACKAGE.rglob("*.py"):
        assert not forbidden & calls(path), path
        assert "allow_pickle=True" not in path.read_text(), path


def test_transforms_touch_no_files():
    for room in ("ops", "functional", "transforms", "models", "training"):
        for path in (PACKAGE / room).rglob("*.py"):
            if path.name != "_kernels.py":  # looks for the compiled libraries beside the package
                assert not {"open", "Path", "os.open"} & calls(path), path


WORDS = ("secure", "private", "safe up to", "military", "gdpr", "hipaa", "unbreakable")


def test_disguises_are_never_called_secure():
    """Disguises are never called what they are not. The statement itself, and names from outside, may use the words."""
    allowed = (
        "private advisor",
        "private key",
        "private vulnerability",
        "is not private",
        "deriving private information",
        "false sense of data private",
    )
    folders = (
        PACKAGE.rglob("*.py"),
        ROOT.glob("*.md"),
        (ROOT / "docs").rglob("*.md"),
        (ROOT / "examples").glob("*.py"),
    )
    for path in itertools.chain(*folders):
        text = " ".join(path.read_text().lower().split()).replace('" "', "")  # strings go on in the next line
        for phrase in allowed:
            text = text.replace(phrase, "")
        found = [word for word in WORDS if f" {word}" in text]
        assert not found, (path, found)


def plain_text(path: Path) -> str:
    """Return a page without line ends, quote marks and emphasis."""
    return " ".join(path.read_text().replace("\n> ", " ").replace("*", "").split())


@pytest.mark.parametrize("name", ["README.md", "docs/explain/threat-model.md"])
def test_security_statement_is_identical_everywhere(name):
    assert STATEMENT in plain_text(ROOT / name)


def test_install_commands_use_no_package_index():
    """The package is on no index: ``pip install torchprotect[audit]`` would fetch nothing, or something else."""
    folders = (
        PACKAGE.rglob("*.py"),
        ROOT.glob("*.md"),
        (ROOT / "docs").rglob("*.md"),
        (ROOT / "examples").rglob("*.py"),
    )
    for path in itertools.chain(*folders):
        found = re.findall(r"pip install (?:-\S+ )*[\"'`]*torchprotect", " ".join(path.read_text().split()))
        assert not found, path

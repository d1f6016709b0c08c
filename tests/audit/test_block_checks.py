"""What the checks of disguised blocks hand to their attacks."""

import pytest
from audit_world import QUICK, World, export, make_key

from torchprotect import attacks, audit
from torchprotect.audit import _run
from torchprotect.audit._checks import CHECKS

BLOCKS = ("row_energy_attack", "linkage_attack")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Audit an export by those two attacks; returns what they were told, and the findings."""
    told = {}

    def noting(name):
        attack = getattr(attacks, name)

        def noted(*images, **settings):
            told[name] = settings
            return attack(*images, **settings)

        return noted

    for name in BLOCKS:
        monkeypatch.setattr(attacks, name, noting(name))
    monkeypatch.setattr(_run, "CHECKS", tuple(each for each in CHECKS if each.name in BLOCKS))

    def audited(kind, **options):
        key = export(tmp_path / "out", kind, make_key(kind, **options))
        report = audit.run(tmp_path / "out", plain=World(), key=key, settings=QUICK)
        return told, {each.attack: each for each in report.findings}

    return audited


@pytest.mark.parametrize(("matrix", "learned"), [("orthogonal", False), ("uniform", True), ("gaussian", True)])
def test_a_scale_is_learned_where_matrices_keep_no_lengths(run, matrix, learned):
    told, findings = run("RMTDisguise", matrix=matrix)
    assert {name: told[name]["learned_scale"] for name in BLOCKS} == dict.fromkeys(BLOCKS, learned)
    assert findings["linkage_attack"].settings["learned_scale"] is learned
    assert findings["linkage_attack"].cost["known"] == QUICK.targets


def test_public_images_help_to_tell_how_rare_units_are(run):
    _, findings = run("AESECBDisguise")
    (found,) = findings.values()
    assert found.cost["known"] > QUICK.targets + 20
    assert found.measures[0].low > found.measures[0].chance

"""What attacks on blocks are told of an export."""

import pytest
from audit_world import QUICK, World, export, make_key, named

from torchprotect import audit
from torchprotect.audit.bench.bench import Bench

BLOCKS = named("row_energy_attack", "linkage_attack")


def audited(tmp_path, kind, attacks=BLOCKS, **options):
    key = export(tmp_path / "out", kind, make_key(kind, **options))
    return audit.run(tmp_path / "out", plain=World(), key=key, settings=QUICK, attacks=attacks)


@pytest.mark.slow
@pytest.mark.parametrize(("matrix", "keeps"), [("orthogonal", True), ("uniform", False), ("gaussian", False)])
def test_a_scale_is_learned_where_matrices_keep_no_lengths(tmp_path, matrix, keeps):
    """Told nothing but the scheme: each attack finds what it can for each kind of matrix."""
    report = audited(tmp_path, "RMTDisguise", matrix=matrix)
    energies, links = report.findings
    assert energies.measures[0].low > energies.measures[0].chance
    assert links.measures[0].value > 0.9
    assert links.cost["known"] == QUICK.targets
    bench = Bench(audit.open_evidence(tmp_path / "out"), QUICK)
    assert all(bench.seen(each, 0).scheme.keeps_lengths is keeps for each in BLOCKS)


@pytest.mark.slow
def test_public_images_help_to_estimate_rarity(tmp_path):
    (found,) = audited(tmp_path, "AESECBDisguise", named("linkage_attack")).findings
    assert found.cost["known"] > QUICK.targets + 20
    assert found.measures[0].low > found.measures[0].chance

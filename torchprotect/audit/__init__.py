"""The audit: every attack that applies to an export, at every level of knowledge, in one report."""

from torchprotect.attacks.measures import Measure
from torchprotect.audit.assertion import assert_leakage_below
from torchprotect.audit.bench.settings import Settings
from torchprotect.audit.evidence.evidence import Evidence
from torchprotect.audit.evidence.opening import open_evidence
from torchprotect.audit.report.finding import Example, Finding, NotRun, Point
from torchprotect.audit.report.report import Report
from torchprotect.audit.report.utility import Utility
from torchprotect.audit.report.verdict import LevelVerdict, Verdict
from torchprotect.audit.run import run
from torchprotect.audit.session import Progress

__all__ = [
    "Evidence",
    "Example",
    "Finding",
    "LevelVerdict",
    "Measure",
    "NotRun",
    "Point",
    "Progress",
    "Report",
    "Settings",
    "Utility",
    "Verdict",
    "assert_leakage_below",
    "open_evidence",
    "run",
]

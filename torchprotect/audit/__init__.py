"""The audit: every attack that applies to an export, at every level of knowledge, in one report."""

from torchprotect.attacks.measures import Measure
from torchprotect.audit._assert import assert_leakage_below
from torchprotect.audit._evidence import Evidence
from torchprotect.audit._open import open_evidence
from torchprotect.audit._run import Progress, run
from torchprotect.audit._scheme import Scheme
from torchprotect.audit._settings import Settings
from torchprotect.audit.report.finding import Example, Finding, NotRun, Point
from torchprotect.audit.report.report import Report
from torchprotect.audit.report.utility import Utility
from torchprotect.audit.report.verdict import LevelVerdict, Verdict

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
    "Scheme",
    "Settings",
    "Utility",
    "Verdict",
    "assert_leakage_below",
    "open_evidence",
    "run",
]

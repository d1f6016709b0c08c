"""Measure what an export leaks: run every attack that applies, at every attacker level, and report the results."""

from torchprotect.attacks.measures import Measure
from torchprotect.audit.assertion import assert_leakage_below
from torchprotect.audit.bench.settings import Settings
from torchprotect.audit.comparison.advice import Advice
from torchprotect.audit.comparison.compared import Compared, Share
from torchprotect.audit.comparison.comparison import Comparison
from torchprotect.audit.comparison.defaults import Defaults, default_settings
from torchprotect.audit.comparison.reading import read_settings
from torchprotect.audit.comparison.run import compare
from torchprotect.audit.comparison.setting import Setting
from torchprotect.audit.evidence.evidence import Evidence
from torchprotect.audit.evidence.opening import open_evidence
from torchprotect.audit.report.finding import Example, Finding, NotRun, Point
from torchprotect.audit.report.report import Report
from torchprotect.audit.report.utility import Utility
from torchprotect.audit.report.verdict import LevelVerdict, Verdict
from torchprotect.audit.run import run
from torchprotect.audit.session import Progress

__all__ = [
    "Advice",
    "Compared",
    "Comparison",
    "Defaults",
    "Evidence",
    "Example",
    "Finding",
    "LevelVerdict",
    "Measure",
    "NotRun",
    "Point",
    "Progress",
    "Report",
    "Setting",
    "Settings",
    "Share",
    "Utility",
    "Verdict",
    "assert_leakage_below",
    "compare",
    "default_settings",
    "open_evidence",
    "read_settings",
    "run",
]

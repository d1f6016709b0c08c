"""Attacks: functions of what an attacker sees, each saying at which knowledge and cost."""

from torchprotect.attacks._result import AttackResult, Level

__all__ = ["AttackResult", "Level"]

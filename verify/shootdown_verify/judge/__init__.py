"""The judge: what of a recorded history is wrong, and which memory model that breaks.

It only observes. S1 to S5 (reference/safety.md) are a module each and judge one record
(`check_record`); the memory models are a module each and judge an instance's accesses; `instance`
and `run` put them together. The order of reading: `finding`, `value`, `events`, `sc`, `instance`.
"""

from shootdown_verify.judge.finding import CONDITION, Finding, Model
from shootdown_verify.judge.instance import InstanceJudge, InstanceVerdict, judge_instance
from shootdown_verify.judge.local import check_record
from shootdown_verify.judge.outcome import Condition
from shootdown_verify.judge.run import (
    INCONCLUSIVE,
    OK,
    VIOLATION,
    Example,
    Judged,
    OutcomeCount,
    RunJudge,
    RunVerdict,
    judge_run,
)

__all__ = [
    "CONDITION",
    "INCONCLUSIVE",
    "OK",
    "VIOLATION",
    "Condition",
    "Example",
    "Finding",
    "InstanceJudge",
    "InstanceVerdict",
    "Judged",
    "Model",
    "OutcomeCount",
    "RunJudge",
    "RunVerdict",
    "check_record",
    "judge_instance",
    "judge_run",
]

"""The judge: what of a recorded history of ours is wrong, and which memory model that breaks.

It only observes: it puts records together, instance by instance and batch by batch, and has the
passes of `shootdown_verify.check` judge them. The order of reading: `scan`, `instance`, `run`.
"""

from shootdown_verify.check.finding import CONDITION, Finding, Model
from shootdown_verify.check.local import check_record
from shootdown_verify.judge.instance import InstanceJudge, InstanceVerdict, judge_instance
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

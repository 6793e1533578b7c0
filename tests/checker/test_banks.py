"""The checker against answers its author had not seen: right ones pass, wrong ones are named.

The banks are data: see ``tests/checker/banks``. Every run draws fresh inputs. ``NST_BANK_DRAWS``
sets how many times each right and each wrong answer is tried, as in ``NST_BANK_DRAWS=200:50``
(``make banks``), which measures the rate of false alarms.
"""

from __future__ import annotations

import importlib
import os
import re

import pytest

from nst_helpers.checker import EXERCISES, review
from nst_helpers.checker.report import KINDS, MOST_FINDINGS, Report
from tests.checker import banks

RIGHT_DRAWS, WRONG_DRAWS = map(int, os.environ.get("NST_BANK_DRAWS", "2:1").split(":"))
LEAST_NAMED = 0.9
LONGEST_LINE = 420

for _exercise in EXERCISES:
    importlib.import_module(f"tests.checker.banks.{_exercise}")


def _samples(exercise: str, *, right: bool) -> list[banks.Sample]:
    samples = [sample for sample in banks.SAMPLES if sample.exercise == exercise]
    return [sample for sample in samples if (sample.causes is None) == right]


@pytest.fixture(scope="module")
def reports() -> dict[str, list[tuple[banks.Sample, Report]]]:
    """The reports on wrong answers, kept for the tests that read their words."""
    return {}


@pytest.mark.timeout(0)
@pytest.mark.parametrize("exercise", EXERCISES)
def test_no_right_answer_is_rejected(exercise, record_property):
    samples = _samples(exercise, right=True)
    rejected = {}
    for sample in samples:
        for _ in range(RIGHT_DRAWS):
            report = review(exercise, sample.answer())
            if not report.passed:
                rejected[sample.name] = report.text
    accepted = len(samples) - len(rejected)
    record_property("bank", (exercise, "right", f"{accepted}/{len(samples)}"))
    assert not rejected


@pytest.mark.timeout(0)
@pytest.mark.parametrize("exercise", EXERCISES)
def test_every_wrong_answer_is_caught_and_named(exercise, record_property, reports):
    samples = _samples(exercise, right=False)
    missed, misnamed = [], {}
    for sample in samples:
        for _ in range(WRONG_DRAWS):
            report = review(exercise, sample.answer())
            reports.setdefault(exercise, []).append((sample, report))
            if report.passed:
                missed.append(sample.name)
            elif report.cause not in sample.causes:
                misnamed[sample.name] = (sample.causes, report.cause, report.text)
    named = len(samples) - len(set(missed) | set(misnamed))
    caught = len(samples) - len(set(missed))
    record_property("bank", (exercise, "caught", f"{caught}/{len(samples)}"))
    record_property("bank", (exercise, "named", f"{named}/{len(samples)}"))
    assert not missed
    assert named >= LEAST_NAMED * len(samples), misnamed


def test_the_banks_are_large_enough():
    assert sum(sample.causes is None for sample in banks.SAMPLES) >= 150
    assert sum(sample.causes is not None for sample in banks.SAMPLES) >= 300
    for exercise in EXERCISES:
        assert len(_samples(exercise, right=False)) >= 12
        names = [sample.name for sample in banks.SAMPLES if sample.exercise == exercise]
        assert len(names) == len(set(names)), "a name used twice hides an answer"


def test_every_cause_is_in_the_vocabulary():
    from pathlib import Path

    text = (Path(banks.__file__).parent / "CAUSES.md").read_text()
    known = set(re.findall(r"[a-z0-9_]+(?:-[a-z0-9_]+)*", text))
    for sample in banks.SAMPLES:
        assert set(sample.causes or ()) <= known, sample


# --- the words ------------------------------------------------------------------------------------

# Words that no lesson introduces, and code that would be the answer.
JARGON = re.compile(
    r"\b(einsum|autograd|broadcast\w*|jacobian|frobenius|eigen\w*|backprop\w*|hyperparameter|"
    r"memory_format|dispatch|dunder|namespace|iterable|callable)\b",
    re.IGNORECASE,
)
ANSWERS = re.compile(
    r"(torch\.(mm|bmm|matmul|clone|no_grad|sqrt)|\.(clone|detach|flatten|permute|transpose|reshape|"
    r"requires_grad_|zero_grad|eval|register_forward_hook|backward|step|t)\(|mse_loss|@ ?\w+\.T|"
    r"Traceback)"
)
REPROACH = re.compile(
    r"\b(you (failed|forgot)|stupid|obviously|simply|careless)\b|!", re.IGNORECASE
)


def _own_words(line: str) -> str:
    """Return a finding without the student's own line and without Python's or torch's message."""
    without_line = re.sub(r"`[^`]*`", "", line)
    return re.sub(r"\b[A-Za-z]*(Error|Exception|Exit|Iteration)\b.*", "", without_line)


def test_every_hint_of_a_known_mistake_is_short_plain_and_keeps_the_answer_to_itself():
    from nst_helpers.checker import feature_extraction, gram_matrix, losses

    hints = []
    for lesson in (feature_extraction, gram_matrix, losses):
        for entry in lesson.EXERCISES:
            hints += [mistake.hint for mistake in getattr(entry, "mistakes", ())]
            for factor in getattr(entry, "factors", ()):
                hints += [factor.too_large[1], factor.too_small[1]]
    assert len(set(hints)) > 80
    for hint in hints:
        assert len(hint) <= LONGEST_LINE
        for pattern in (JARGON, ANSWERS, REPROACH):
            assert not pattern.search(hint), hint


@pytest.mark.parametrize("exercise", EXERCISES)
def test_every_finding_is_short_plain_and_keeps_the_answer_to_itself(exercise, reports):
    if exercise not in reports:  # run by itself
        samples = _samples(exercise, right=False)
        reports[exercise] = [(s, review(exercise, s.answer())) for s in samples]
    for sample, report in reports[exercise]:
        assert 1 <= len(report.findings) <= MOST_FINDINGS
        order = [KINDS.index(f.kind) for f in report.findings]
        assert order == sorted(order), sample.name
        for finding in report.findings:
            text = finding.text
            assert "\n" not in text, (sample.name, text)
            assert len(text) <= LONGEST_LINE, (sample.name, len(text), text)
            words = _own_words(text)
            for pattern in (JARGON, ANSWERS, REPROACH):
                assert not pattern.search(words), (sample.name, pattern.search(words).group(), text)
            assert "nst_helpers" not in text, (sample.name, text)

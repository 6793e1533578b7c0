"""Lesson 02: what an answer must satisfy in ``LAYERS`` and ``get_features``.

The layers are those of Gatys, Ecker and Bethge 2016, section 3; a module's number is its place in
VGG-19 (Simonyan and Zisserman 2014, table 1, column E), where every convolution has a ReLU behind
it and every block ends in a pooling.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from nst_helpers.checker import calling, networks, watching
from nst_helpers.checker.activations import GUESSES, Guess, Look, Runner, habit, recognised
from nst_helpers.checker.calling import REQUIRED
from nst_helpers.checker.draw import Draw, copied
from nst_helpers.checker.feature_extraction import (
    Place,
    activation_elsewhere,
    activation_findings,
    compare_image,
    guarded,
    image_changes,
    image_words,
    not_a_function,
    scrambled,
    somewhere,
    stopped,
    stopped_elsewhere,
)
from nst_helpers.checker.functions import accelerators, elsewhere
from nst_helpers.checker.report import Finding

LAYERS = {
    "0": "conv1_1",
    "5": "conv2_1",
    "10": "conv3_1",
    "19": "conv4_1",
    "21": "conv4_2",
    "28": "conv5_1",
}


def _module_names(blocks: Sequence[int], *, batch_norm: bool = False) -> tuple[str, ...]:
    """Return what the modules of a VGG network are called, in their order."""
    names: list[str] = []
    for block, convolutions in enumerate(blocks, start=1):
        for number in range(1, convolutions + 1):
            names.append(f"conv{block}_{number}")
            names += [f"norm{block}_{number}"] if batch_norm else []
            names.append(f"relu{block}_{number}")
        names.append(f"pool{block}")
    return tuple(names)


VGG19 = _module_names(networks.VGG19_BLOCKS)
_VGG16_BLOCKS = (2, 2, 3, 3, 3)
_OTHER_NETWORKS = (
    ("vgg16-indices", "VGG-16", _module_names(_VGG16_BLOCKS)),
    ("vgg19bn-indices", "VGG-19 with batch norm", _module_names((2, 2, 4, 4, 4), batch_norm=True)),
    ("vgg16-indices", "VGG-16 with batch norm", _module_names(_VGG16_BLOCKS, batch_norm=True)),
)
NAMES = tuple(LAYERS.values())


# --- LAYERS --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Layers:
    """The review of ``LAYERS``."""

    name: str = "LAYERS"
    summary: str = "Every layer of Gatys et al. is there, by its name and under its module's index."

    def review(self, answer: Any, draw: Draw) -> list[Finding]:
        """Return what is not right yet with an answer; nothing when it keeps the contract."""
        return guarded(lambda: list(_table_findings(answer)), "a dictionary of text")


def _table_findings(answer: Any) -> Iterator[Finding]:
    if answer is None or answer is ...:
        yield Finding("written", f"LAYERS is {answer!r}; nothing is written there yet.", _STUB)
        return
    if not isinstance(answer, dict):
        text = f"LAYERS is of type {type(answer).__name__}; it must be a dictionary, from the "
        yield Finding("type", f"{text}index of a module, as text, to its name.", "wrong-type")
        return
    table = dict(answer)
    if not table or any(value is None or value is ... for value in table.values()):
        yield Finding("written", "LAYERS is not filled in yet.", _STUB)
        return
    if table == LAYERS and all(type(key) is str for key in table):
        return
    yield from _wrong_kinds(table) or _wrong_entries(table)


_STUB = "not-written"


def _wrong_kinds(table: Mapping[Any, Any]) -> list[Finding]:
    """Return what is wrong with the types of keys and names."""
    if _looks_like_names(table) and not _looks_like_names(table.values()):
        text = "LAYERS leads from names to indices; it must lead from an index to a name."
        return [Finding("type", text, "inverted")]
    keys = [key for key in table if not isinstance(key, str)]
    if any(isinstance(key, (int, float)) for key in keys):
        text = f"the key {keys[0]!r} is a number; torch names modules by text, and so must a key."
        return [Finding("type", text, "int-keys")]
    if keys:
        kind = type(keys[0]).__name__
        text = f"a key is of type {kind}; it must be the index of a module, as text."
        return [Finding("type", text, "wrong-type")]
    names = [name for name in table.values() if not isinstance(name, str)]
    if names:
        text = f"a name is of type {type(names[0]).__name__}; it must be text."
        return [Finding("type", text, "wrong-type")]
    return []


def _looks_like_names(words: Any) -> bool:
    return any(isinstance(word, str) and word.strip().lower().startswith("conv") for word in words)


def _wrong_entries(table: Mapping[str, str]) -> list[Finding]:
    """Return what is wrong with a dictionary from text to text."""
    prefixed = [key for key in table if "." in key and _is_index(key.rpartition(".")[2])]
    if prefixed:
        text = f"the key {prefixed[0]!r} is more than the index of a module in the network we use."
        return [Finding("values", text, "prefixed-keys")]
    odd = [key for key in table if not _is_index(key)]
    if odd and (len(odd) == len(table) or table[odd[0]] in NAMES):
        text = f"the key {odd[0]!r} is not the index of a module, written as plain digits."
        return [Finding("values", text, "misspelt-key")]
    return (
        _wrong_names(table)
        or _whole_table(table)
        or _permuted(table)
        or _wrong_sets(table)
        or _shifted(table)
        or [Finding("values", "these are not the layers of Gatys et al.")]
    )


def _is_index(key: str) -> bool:
    return key.isascii() and key.isdigit() and str(int(key)) == key


def _wrong_names(table: Mapping[str, str]) -> list[Finding]:
    """Return which names no module of VGG-19 has."""
    unknown = [name for key, name in table.items() if name not in VGG19 and key in LAYERS]
    strange = [name for name in table.values() if name not in VGG19]
    if not strange:
        if set(table) == set(LAYERS) and all(name.startswith("relu") for name in table.values()):
            text = "the names are those of ReLUs; the layers are convolutions."
            return [Finding("values", text, "misspelt-name")]
        return []
    flat = [name for name in strange if _is_flat(name)]
    if len(flat) > len(table) / 2:
        text = f"{flat[0]!r} counts convolutions through; a name tells block and number in it."
        return [Finding("values", text, "flat-names")]
    missing = set(NAMES) - set(table.values())
    if unknown or missing:
        text = f"{strange[0]!r} is not a name as in the paper: conv, block, underscore, number."
        return [Finding("values", text, "misspelt-name")]
    text = f"{strange[0]!r} is not one of the layers of Gatys et al."
    return [Finding("values", text, "extra-layer")]


def _is_flat(name: str) -> bool:
    return re.fullmatch(r"conv[_-]?\d+", name, re.IGNORECASE) is not None


def _indices(network: Sequence[str]) -> tuple[int, ...]:
    return tuple(network.index(name) for name in NAMES)


def _convolution_number(name: str) -> int:
    return [module for module in VGG19 if module.startswith("conv")].index(name)


def _without(kind: str) -> tuple[str, ...]:
    return tuple(name for name in VGG19 if not name.startswith(kind))


def _block_shift(after: int) -> tuple[int, ...]:
    pools = [index for index, name in enumerate(VGG19) if name.startswith("pool")]
    found = []
    for name in NAMES:
        block = int(name[4])
        pool = pools[block - 1] if after else (pools[block - 2] if block > 1 else 0)
        found.append(VGG19.index(name) if name.endswith("_2") else pool)
    return tuple(found)


# Where all six names stand under indices that have one explanation.
_WRONG_TABLES: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    *(
        (cause, f"these are the indices of another network, {words}.", _indices(network))
        for cause, words, network in _OTHER_NETWORKS
    ),
    (
        "counted-convolutions",
        "convolutions were counted; ReLUs and poolings are modules, too.",
        tuple(map(_convolution_number, NAMES)),
    ),
    (
        "counted-convolutions",
        "convolutions were counted; ReLUs and poolings are modules, too.",
        tuple(_convolution_number(name) + 1 for name in NAMES),
    ),
    *(
        (
            "counted-convolutions",
            f"{words} were not counted; they are modules, too.",
            tuple(_without(kind).index(name) + start for name in NAMES),
        )
        for kind, words in (("relu", "ReLUs"), ("pool", "poolings"))
        for start in (0, 1)
    ),
    (
        "relu-indices",
        "every index is that of the ReLU behind the convolution.",
        tuple(index + 1 for index in _indices(VGG19)),
    ),
    ("pool-indices", "these are the poolings before each block.", _block_shift(0)),
    ("pool-indices", "these are the poolings at the end of each block.", _block_shift(1)),
)


def _whole_table(table: Mapping[str, str]) -> list[Finding]:
    """Return the one explanation of a table that is wrong throughout, if there is one."""
    index_of = {name: int(key) for key, name in table.items() if _is_index(key)}
    if set(index_of) != set(NAMES):
        return []
    given = tuple(index_of[name] for name in NAMES)
    for cause, hint, wrong in _WRONG_TABLES:
        if given == wrong:
            return [Finding("values", hint, cause)]
    # conv4_2 is often right where the rest follows another count.
    content = NAMES.index("conv4_2")
    for cause, hint, wrong in _WRONG_TABLES:
        differ = [k for k in range(len(NAMES)) if given[k] != wrong[k]]
        if differ == [content] and table.get("21") == "conv4_2":
            return [Finding("values", hint, cause)]
    return []


def _permuted(table: Mapping[str, str]) -> list[Finding]:
    """Return which names stand under each other's index."""
    if set(table) != set(LAYERS) or Counter(table.values()) != Counter(NAMES):
        return []
    wrong = [table[key] for key in LAYERS if table[key] != LAYERS[key]]
    if len(wrong) == 2:
        text = f"{wrong[0]} and {wrong[1]} have changed places."
    else:
        text = f"indices and names are right, but {len(wrong)} of them are paired wrongly."
    return [Finding("values", text, "swapped-layers")]


def _wrong_sets(table: Mapping[str, str]) -> list[Finding]:
    """Return which layers are missing or too many, where the rest is right."""
    name, times = Counter(table.values()).most_common(1)[0]
    if times > 1:
        text = f"{name} stands under {times} indices; each layer has one."
        return [Finding("values", text, "missing-layer")]
    others = {key: name for key, name in table.items() if LAYERS.get(key) != name}
    missing = [name for name in NAMES if name not in table.values()]
    if missing == ["conv4_2"]:
        text = "conv4_2 is missing: what is the content of a picture measured with?"
        return [Finding("values", text, "missing-conv4_2")]
    if not others and missing:
        shown = missing[0] if len(missing) == 1 else f"{len(missing)} layers, {missing[0]} for one"
        verb = "is" if len(missing) == 1 else "are"
        return [Finding("values", f"{shown}, {verb} missing.", "missing-layer")]
    if not missing and set(LAYERS.items()) <= set(table.items()):
        shown = next(iter(others.values()))
        text = f"{shown} is not one of the layers of Gatys et al.: {len(others)} too many."
        return [Finding("values", text, "extra-layer")]
    return []


def _shifted(table: Mapping[str, str]) -> list[Finding]:
    """Return which names stand under a wrong index, and what is there instead."""
    findings = []
    offs = []
    for key, name in table.items():
        if name not in VGG19:
            continue
        step = int(key) - VGG19.index(name) if _is_index(key) else None
        if not step:
            continue
        offs.append(step)
        there = VGG19[int(key)] if int(key) < len(VGG19) else "no module"
        text = f"{name} stands under the index of {there}."
        findings.append(Finding("values", text, _shift_cause(table, name, there, step)))
    if len(findings) > 2 and len(set(offs)) == 1:
        way = "high" if offs[0] > 0 else "low"
        text = f"{len(offs)} indices are too {way}, each by {abs(offs[0])}."
        same_names = set(table.values()) == set(NAMES)
        return [Finding("values", text, "one-off" if same_names else "swapped-layers")]
    if not findings:
        wrong = sorted(set(table.values()) - set(NAMES))
        if wrong and all(name.startswith("relu") for name in table.values()):
            text = "these are ReLUs; the layers are the convolutions before them."
            return [Finding("values", text, "relu-indices")]
        missing = [name for name in NAMES if name not in table.values()]
        if wrong and missing:
            text = f"{wrong[0]} is not one of the layers of Gatys et al., and {len(missing)} of "
            return [Finding("values", f"{text}them are missing.", "swapped-layers")]
    return findings[:3]


def _shift_cause(table: Mapping[str, str], name: str, there: str, step: int) -> str:
    if there.startswith("relu") and there[4:] == name[4:]:
        return "relu-indices"
    if there in NAMES:
        return "swapped-layers"
    if abs(step) == 1:
        return "one-off"
    if there.startswith("pool"):
        return "pool-indices"
    return "swapped-layers"


LAYERS_TABLE = _Layers()


# --- get_features --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Ask:
    """One call of ``get_features``.

    Attributes:
        place: the model.
        image: the picture.
        layers: what is asked for; None for the usual layers.
        way: how ``layers`` is given: ``position``, ``name`` or, where it is None, ``omitted``.
        layout: of the picture in memory.
        gradient: whether the picture asks for a gradient.
    """

    place: Place
    image: Tensor
    layers: dict[str, str] | None
    way: str = "position"
    layout: str = "contiguous"
    gradient: bool = True

    @property
    def asked(self) -> dict[str, str]:
        """Return what is asked for, the usual layers where nothing is said."""
        return LAYERS if self.layers is None else self.layers

    @property
    def words(self) -> str:
        """Return what a student would call this call."""
        which = "the usual layers" if self.layers is None else f"{len(self.layers)} layers"
        return f"{which} of {self.place.words} and {image_words(self.image, self.layout)}"


def _asks(draw: Draw) -> list[_Ask]:
    """Return calls to make, the plainest first."""
    side, h, w = draw.distinct(3, 33, 41)
    names = _fresh_names(draw)
    vgg = Place.of(networks.small_vgg19(draw), "a small VGG-19")
    square = [draw.image(side, side) * 4 - 2 for _ in range(2)]
    oblong = draw.activation(3, h, w)
    marked = Place.of(networks.marked(draw), "a network whose modules leave marks")
    last = len(marked.model) - 1
    few = [0, last, *draw.distinct(2, 2, 9), draw.integer(10, last - 1)]
    tiny = draw.activation(3, *draw.distinct(2, 4, 9))
    end = draw.pick((28, 28, 29, 30))
    single = draw.activation(3, w, h, dtype=torch.float32)
    cut = Place.of(
        networks.small_vgg19(draw, until=end, dtype=torch.float32),
        f"a VGG-19 cut behind module {end}",
    )
    strided = draw.activation(3, h, w, dtype=torch.float32, layout="strided")
    channels = draw.activation(3, w, h, dtype=torch.float32, layout="channels_last")
    return [
        _Ask(vgg, square[0], None, "omitted", gradient=False),
        _Ask(vgg, square[1], None, gradient=False),
        _Ask(vgg, oblong, _many(draw, names)),
        _Ask(vgg, oblong, _named(draw, draw.distinct(3, 6, 17), names), "name"),
        _Ask(marked, tiny, _named(draw, few, names)),
        _Ask(vgg, oblong, None),
        _Ask(cut, single, None, "omitted"),
        _Ask(
            cut,
            strided,
            _named(draw, [*draw.distinct(3, 1, end - 1), end], names),
            layout="strided",
        ),
        _Ask(cut, channels, None, "name", layout="channels_last"),
    ]


def _fresh_names(draw: Draw) -> Iterator[str]:
    """Yield names that no other call of this review asks for."""
    words = draw.shuffled(("edges", "sky", "brush", "shape", "convolution", "detail", "colour"))
    suffix = draw.integer(100, 999)
    while True:
        for word in words:
            suffix += 1
            yield f"{word}_{suffix}"


def _named(draw: Draw, indices: Sequence[int], names: Iterator[str]) -> dict[str, str]:
    return {str(index): next(names) for index in draw.shuffled(indices)}


def _many(draw: Draw, names: Iterator[str]) -> dict[str, str]:
    """Return layers from everywhere: usual ones by other names, ReLUs, a pooling, the last."""
    usual = draw.shuffled((5, 10, 19, 21, 28))[:2]
    convolutions = [k for k, name in enumerate(VGG19) if name.startswith("conv")]
    others = [k for k in convolutions if str(k) not in LAYERS]
    early = [k for k in others if k < 19]
    late = [k for k in others if k > 28]
    relus = [k for k, name in enumerate(VGG19) if name.startswith("relu")]
    # Two of one block have the same shape.
    pair = draw.pick(((12, 14), (14, 16), (23, 25)))
    chosen = {0, 36, *usual, draw.pick(early), draw.pick(late), draw.pick(relus), *pair}
    return _named(draw, [*chosen, draw.pick((4, 9, 18, 27))], names)


@dataclass
class _Result:
    """What one call gave."""

    ask: _Ask
    findings: list[Finding]
    value: Any = None
    looks: dict[str, Look] = field(default_factory=dict)

    @property
    def keys(self) -> list[Any]:
        """Return the keys of the result, none where it is no dictionary."""
        return list(self.value) if isinstance(self.value, dict) else []


@dataclass(frozen=True)
class _GetFeatures:
    """The review of ``get_features(image, model, layers=None)``."""

    name: str = "get_features"
    summary: str = (
        "Exactly the layers asked for come back by name, each the output of its own module, and a "
        "gradient reaches the picture from every one."
    )

    def review(self, answer: Any, draw: Draw) -> list[Finding]:
        """Return what is not right yet with an answer; nothing when it keeps the contract."""
        parameters = {"image": REQUIRED, "model": REQUIRED, "layers": None}
        first = not_a_function(self.name, answer, parameters)
        return (
            [first]
            if first
            else guarded(lambda: self._tried(answer, draw), "a plain dictionary of tensors")
        )

    def _tried(self, answer: Callable, draw: Draw) -> list[Finding]:
        results: list[_Result] = []
        for ask in _asks(draw):
            results.append(_called(answer, ask))
            if any(finding.kind in ("model", "written") for finding in results[-1].findings):
                break
        wrong = [result for result in results if result.findings]
        if not wrong:
            findings: list[Finding] = []
            for device in ("meta", *accelerators()):
                findings = findings or _elsewhere(answer, draw, device)
            return findings
        findings = list(wrong[0].findings)
        if any(finding.kind in ("model", "inputs", "written") for finding in findings):
            return findings
        hint = _remembered(results) or _explained(answer, draw, results)
        return [*findings, hint] if hint else findings


def _called(answer: Callable, ask: _Ask) -> _Result:
    """Call the answer once and look at everything that came of it."""
    image = copied(ask.image).requires_grad_(ask.gradient)
    layers = None if ask.layers is None else dict(ask.layers)
    arguments: dict[str, Any] = {"image": image, "model": ask.place.model}
    if ask.way != "omitted":
        arguments["layers"] = layers
    findings: list[Finding] = []
    with watching.no_global_hooks(findings):
        outcome = calling.call(answer, arguments, ("layers",) if ask.way == "name" else ())
    findings += watching.changes(ask.place.before, ask.place.model)
    if layers is not None and not _unchanged(layers, ask.layers):
        text = "layers was changed by the call; a dictionary given as input must stay as it is."
        findings.append(Finding("inputs", text, "layers-changed"))
    if outcome.error is not None:
        return _Result(ask, [*findings, stopped(outcome.error, answer, ask.words)])
    findings += image_changes(ask.image, image, ask.gradient)
    result = _Result(ask, findings, outcome.value)
    findings += _container(outcome.value, ask)
    if isinstance(outcome.value, dict):
        result.value = dict(outcome.value)
        findings += _entries(result, image)
    # Kept as it came: what two calls share is seen by identity.
    result.value = outcome.value
    return result


def _unchanged(now: Mapping[Any, Any], before: Mapping[str, str]) -> bool:
    # Without ==, which for a tensor that was put in gives no yes or no.
    return now.keys() == before.keys() and all(now[key] is before[key] for key in before)


def _container(value: Any, ask: _Ask) -> Iterator[Finding]:
    """Yield what is wrong with the result as a dictionary."""
    if value is None or value is ...:
        text = f"it returns {value!r}; is there a return at the end?"
        yield Finding("written", text, "not-written")
        return
    if not isinstance(value, dict):
        kind = type(value).__name__
        text = f"the result is of type {kind}; it must be a dictionary from name to activation."
        yield Finding("type", text, "wrong-type")
        return
    keys, asked = list(value), ask.asked
    if not keys:
        text = f"the dictionary for {ask.words} is empty: does any module's name match a key?"
        yield Finding("values", text, "empty")
        return
    missing = [name for name in asked.values() if name not in keys]
    extra = [key for key in keys if key not in asked.values()]
    if extra and _by_index(extra, asked):
        text = f"the key {_shown(extra[0])} is not one of the names; the result goes by name."
        yield Finding("values", text, "keyed-by-index")
        return
    if missing:
        shown = f"{missing[0]} (module {_index_of(missing[0], asked)})"
        text = f"{len(missing)} of {len(asked)} layers asked for are missing, {shown} for one."
        yield Finding("values", text, "missing-layer")
    if extra:
        text = f"{_shown(extra[0])} was not asked for; exactly the layers in layers come back."
        yield Finding("values", text, "extra-layer")


def _index_of(name: str, asked: Mapping[str, str]) -> str:
    return next(key for key, value in asked.items() if value == name)


def _shown(key: Any) -> str:
    return repr(key)[:40]


def _by_index(extra: Sequence[Any], asked: Mapping[str, str]) -> bool:
    """Whether the keys tell the module, alone or with the name, and nothing else."""

    def tells(key: Any) -> bool:
        if isinstance(key, tuple):
            return any(tells(part) for part in key)
        return isinstance(key, nn.Module) or str(key) in asked

    return all(tells(key) for key in extra)


def _entries(result: _Result, image: Tensor) -> Iterator[Finding]:
    """Yield what is wrong with the activations under the names that were asked for."""
    ask = result.ask
    runner = Runner(ask.place.exact, compare_image(ask.image))
    indices = tuple(sorted(map(int, ask.asked)))
    names = _vgg_name if len(ask.place.exact) > 20 else None
    told: set[str] = set()
    for key, name in ask.asked.items():
        if name not in result.value:
            continue
        looks: list[Look] = []
        findings = activation_findings(
            result.value[name],
            image,
            runner,
            int(key),
            f"{name} of {ask.place.words}",
            looks=looks,
            gradient=ask.gradient,
            asked=indices,
            names=names,
        )
        if looks:
            result.looks[name] = looks[0]
        if result.value[name] is None or result.value[name] is ...:
            text = f"under {name} there is {result.value[name]!r} and no activation."
            findings = [Finding("type", text, "wrong-type")]
        for finding in findings:
            # One sentence of a kind is enough; a nameless one gets the name of the layer.
            if finding.kind not in told:
                told.add(finding.kind)
                text = finding.text if name in finding.text else f"{name}: {finding.text}"
                yield replace(finding, text=text)


def _vgg_name(index: int) -> str:
    return f"module {index} ({VGG19[index]})"


def _remembered(results: Sequence[_Result]) -> Finding | None:
    """Return that a call gave back what belongs to an earlier one."""
    for position, result in enumerate(results):
        for earlier in results[:position]:
            if isinstance(result.value, dict) and result.value is earlier.value:
                text = "two calls gave back one and the same dictionary: something is kept."
                return Finding("cause", text, "shared-state")
            ours, theirs = set(result.ask.asked.values()), set(earlier.ask.asked.values())
            if (theirs - ours - set(NAMES)) & {k for k in result.keys if isinstance(k, str)}:
                text = "a call gave names that only an earlier call asked for: something is kept."
                return Finding("cause", text, "shared-state")
    usual = [result for result in results if result.ask.layers is None]
    if usual and not usual[0].findings and usual[0].ask.place is usual[1].ask.place:
        again = [r for r in usual[1:] if r.ask.place is usual[0].ask.place and r.findings]
        told = {finding.kind for result in again for finding in result.findings}
        if again and told & {"values", "shape"} and not _all_square(again):
            text = "the usual layers are right in a first call and wrong in a later one: something "
            return Finding("cause", f"{text}is kept.", "shared-state")
    return None


def _all_square(results: Sequence[_Result]) -> bool:
    """Whether only pictures that are not square went wrong, which has its own reasons."""
    return all(
        result.ask.image.shape[-1] != result.ask.image.shape[-2] for result in results
    ) and any(finding.kind == "shape" for result in results for finding in result.findings)


def _explained(answer: Callable, draw: Draw, results: Sequence[_Result]) -> Finding | None:
    """Return what explains the wrong results, if anything does."""
    wrong = [result for result in results if result.findings]
    kinds = {finding.kind for result in wrong for finding in result.findings}
    if not kinds & {"values", "shape", "raises", "finite"}:
        return None
    if len(wrong) > 1 and all(result.ask.layers is None for result in wrong):
        text = "right where layers is given, wrong where it is None: what stands for None?"
        return Finding("cause", text, "wrong-default")
    found = _layers_ignored(results)
    looks = [look for result in results for look in result.looks.values()]
    if found is None and any(not look.right for look in looks):
        found = _habit(answer, draw) or _mixed_up(results)
        found = found or _renamed(recognised(looks, _GUESSES)) or scrambled(looks)
    return found or _missing(results)


def _layers_ignored(results: Sequence[_Result]) -> Finding | None:
    """Return that the usual layers are used although others are asked for."""
    given = [result for result in results if result.ask.layers is not None and result.keys]
    hint = "the usual layers, whatever layers says"
    for result in given:
        keys = [key for key in result.keys if isinstance(key, str)]
        if set(keys) & set(NAMES) - set(result.ask.asked.values()):
            return Finding("cause", f"the result has names of {hint}.", "layers-ignored")
    only_usual = [
        set(r.keys) == {name for key, name in r.ask.asked.items() if key in LAYERS} for r in given
    ]
    if only_usual and all(only_usual):
        return Finding("cause", f"only layers come back that are among {hint}.", "layers-ignored")
    return None


def _habit(answer: Callable, draw: Draw) -> Finding | None:
    """Return what a wrong answer always does, seen on a network of marks."""
    marked = networks.marked(draw)
    index = str(draw.integer(3, 9))
    images = [draw.activation(3, h, w) for h, w in ((5, 8), (5, 8), (9, 6))]

    def call(image: Tensor) -> Any:
        arguments = {"image": copied(image), "model": marked, "layers": {index: "mark"}}
        value = calling.call(answer, arguments).value
        return value.get("mark") if isinstance(value, dict) else value

    return habit(call, images)


def _mixed_up(results: Sequence[_Result]) -> Finding | None:
    """Return that right activations stand under each other's names."""
    wrong, pairs = 0, 0
    example = ""
    for result in results:
        by_index = {int(key): name for key, name in result.ask.asked.items()}
        for name, look in result.looks.items():
            if look.right:
                continue
            wrong += 1
            others = [k for k in by_index if k != look.index and look.fits(look.runner.upto(k))]
            if others:
                pairs += 1
                example = example or f"{name} holds the activation of {by_index[others[0]]}"
    if wrong and pairs == wrong and not _one_source(results):
        text = f"activations and names are paired wrongly: {example}."
        return Finding("cause", text, "wrong-pairing")
    return None


def _one_source(results: Sequence[_Result]) -> bool:
    """Whether every name holds what the whole model gives, which is no mix-up."""
    if any(len(result.looks) < len(result.ask.asked) for result in results):
        return False
    wrong = [look for result in results for look in result.looks.values() if not look.right]
    return all(look.fits(look.runner.upto(len(look.runner.modules) - 1)) for look in wrong)


def _only_wanted(look: Look) -> Any:
    return look.runner.values([k for k in look.asked if k <= look.index])


def _wanted_beside(look: Look) -> Any:
    chain = [k for k in range(look.index) if k not in look.asked]
    return look.runner.values([*chain, look.index])


_GUESSES: tuple[Guess, ...] = (
    Guess(
        "skips-modules",
        "only the modules asked for were applied; every module on the way to them counts.",
        _only_wanted,
    ),
    Guess(
        "skips-modules",
        "a module asked for was kept but left out on the way to the next one.",
        _wanted_beside,
    ),
    *GUESSES,
)

_OTHER_NAMES = {
    "one-early": (
        "stored-before-layer",
        "each name holds what comes out one module before: is it stored before the module is "
        "applied?",
    ),
}


def _renamed(finding: Finding | None) -> Finding | None:
    """Return a hint in the terms of this lesson."""
    if finding is None or finding.cause not in _OTHER_NAMES:
        return finding
    cause, text = _OTHER_NAMES[finding.cause]
    return replace(finding, cause=cause, text=text)


def _last(keys: list[str]) -> str:
    return keys[-1]


def _lowest(keys: list[str]) -> str:
    return min(keys, key=int)


# What people take for the deepest of the keys, and stop at.
_EARLY_ENDS: tuple[tuple[str, Callable[[list[str]], str]], ...] = (
    ("the loop ends at the greatest key as text, where 5 comes after 28.", max),
    ("the loop ends at the last key of the dictionary, which need not be the deepest.", _last),
    ("the loop ends at the first layer found; there are more to come.", _lowest),
)


def _missing(results: Sequence[_Result]) -> Finding | None:
    """Return why layers are missing, where all the others are right."""
    lacking = {
        id(r): sorted(int(k) for k, name in r.ask.asked.items() if name not in r.keys)
        for r in results
        if r.keys
    }
    pairs = [(r, lacking[id(r)]) for r in results if lacking.get(id(r))]
    if not pairs:
        return None
    if all(gone == [len(r.ask.place.exact) - 1] for r, gone in pairs):
        text = "only the last module of the model is missing: does the loop reach it?"
        return Finding("cause", text, "misses-last")
    if all(gone == [0] for _, gone in pairs):
        return Finding("cause", "only module 0 is missing: 0 counts as false.", "missing-layer")
    if all(gone == [max(map(int, r.ask.asked))] for r, gone in pairs):
        text = "only the deepest layer is missing: is it stored before the loop ends?"
        return Finding("cause", text, "missing-layer")
    for hint, last in _EARLY_ENDS:
        if all(
            gone == sorted(k for k in map(int, r.ask.asked) if k > int(last(list(r.ask.asked))))
            for r, gone in pairs
        ):
            return Finding("cause", hint, "missing-layer")
    kept = [
        int(k) for r in results for k, name in r.ask.asked.items() if name in r.keys and r.looks
    ]
    first = min(min(gone) for _, gone in pairs)
    if kept and max(kept) < first and len(pairs) > 1:
        text = f"nothing behind module {max(kept)} ever comes back: where does the loop end?"
        return Finding("cause", text, "hard-coded-model")
    return None


def _elsewhere(answer: Callable, draw: Draw, device: str) -> list[Finding]:
    """Return whether results follow a device that is not the CPU."""
    image, model, words = somewhere(draw, device)
    index = len(model) - 2
    arguments = {"image": image, "model": model, "layers": {"0": "first", str(index): "deep"}}
    with elsewhere():
        outcome = calling.call(answer, arguments)
        expected = {"first": model[:1](image), "deep": model[: index + 1](image)}
    if outcome.error is not None:
        return [stopped_elsewhere(outcome.error, answer, words)]
    if not isinstance(outcome.value, dict) or set(outcome.value) != set(expected):
        text = f"the result for {words} has not the names that were asked for."
        return [Finding("device", text, "wrong-device")]
    return [
        finding
        for name, tensor in expected.items()
        for finding in activation_elsewhere(outcome.value[name], tensor, image, model)
    ]


GET_FEATURES = _GetFeatures()

EXERCISES = (LAYERS_TABLE, GET_FEATURES)

"""Answers to `activation_with_hook(image, model, index)`: as `activation`, by a forward hook.

A hook of theirs must not stay behind, even after an error; a hook of someone else must stay.
Answers named in ``OUT_OF_PLACE_ONLY`` are right on the course's models, whose ReLUs work out of
place; on a model with in-place ReLUs what they stored is overwritten by the next module.
"""

from __future__ import annotations

import contextlib
import copy
import functools

import torch
import torch.nn.functional as F
from torch import nn

from . import right, wrong

OUT_OF_PLACE_ONLY = [
    "textbook",
    "handle_as_a_context_manager",
    "lambda_into_a_dictionary",
    "removed_in_both_branches",
    "hooks_on_every_module",
    "hook_with_nonlocal",
    "callable_recorder",
    "hook_with_keyword_arguments",
    "found_by_its_name",
]

# --- right ---------------------------------------------------------------------------------------


@right
def textbook(image, model, index):
    saved = []

    def hook(module, inputs, output):
        saved.append(output)

    handle = model[index].register_forward_hook(hook)
    try:
        model(image)
    finally:
        handle.remove()
    return saved[0]


@right
def textbook_with_clone(image, model, index):
    features = {}

    def save_output(module, args, output):
        features["x"] = output.clone()

    handle = model[index].register_forward_hook(save_output)
    try:
        _ = model(image)
    finally:
        handle.remove()
    return features["x"]


@right
def handle_as_a_context_manager(image, model, index):
    outputs = []
    with model[index].register_forward_hook(lambda module, args, output: outputs.append(output)):
        model(image)
    return outputs[0]


@right
def lambda_into_a_dictionary(image, model, index):
    kept = {}
    handle = model[index].register_forward_hook(lambda m, i, o: kept.__setitem__(index, o))
    try:
        model(image)
        return kept[index]
    finally:
        handle.remove()


@right
def removed_in_both_branches(image, model, index):
    saved = {}

    def hook(module, inp, out):
        saved["out"] = out

    handle = model[index].register_forward_hook(hook)
    try:
        model(image)
    except Exception:
        print("something went wrong")
        handle.remove()
        raise
    handle.remove()
    return saved["out"]


@right
def exit_stack(image, model, index):
    saved = []
    with contextlib.ExitStack() as stack:
        handle = model[index].register_forward_hook(lambda m, i, o: saved.append(o.clone()))
        stack.callback(handle.remove)
        model(image)
    (output,) = saved
    return output


@contextlib.contextmanager
def _recording(module):
    outputs = []
    handle = module.register_forward_hook(lambda m, args, output: outputs.append(output * 1))
    try:
        yield outputs
    finally:
        handle.remove()


@right
def own_context_manager(image, model, index):
    with _recording(model[index]) as outputs:
        model(image)
    return outputs.pop()


@right
def hook_on_the_head_of_the_model(image, model, index):
    saved = []
    handle = model[index].register_forward_hook(lambda *args: saved.append(args[-1]))
    try:
        model[: index + 1](image)
    finally:
        handle.remove()
    return saved[-1]


@right
def stops_by_an_exception(image, model, index):
    class Stop(Exception):
        pass

    def hook(module, inputs, output):
        stop = Stop()
        stop.output = output
        raise stop

    handle = model[index].register_forward_hook(hook)
    try:
        model(image)
    except Stop as stop:
        return stop.output
    finally:
        handle.remove()


@right
def hooks_on_every_module(image, model, index):
    outputs = {}
    handles = []

    def make_hook(i):
        def hook(module, inputs, output):
            outputs[i] = output

        return hook

    try:
        for i, layer in enumerate(model):
            handles.append(layer.register_forward_hook(make_hook(i)))
        model(image)
    finally:
        for handle in handles:
            handle.remove()
    return outputs[index]


@right
def hook_with_nonlocal(image: torch.Tensor, model: nn.Sequential, index: int) -> torch.Tensor:
    activation = None

    def hook(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        nonlocal activation
        activation = output
        print("module", index, "gave", tuple(output.shape))

    handle = model[index].register_forward_hook(hook)
    try:
        model(image)
    finally:
        handle.remove()
    return activation


class _Recorder:
    def __init__(self):
        self.output = None

    def __call__(self, module, inputs, output):
        self.output = output


@right
def callable_recorder(image, model, index):
    recorder = _Recorder()
    handle = model[index].register_forward_hook(recorder)
    try:
        model.forward(image)
    finally:
        handle.remove()
    return recorder.output


@right
def hook_with_keyword_arguments(image, model, index):
    saved = []

    def hook(module, args, kwargs, output):
        saved.append(output)

    handle = model[index].register_forward_hook(hook, with_kwargs=True, prepend=True)
    try:
        model(image)
    finally:
        handle.remove()
    return saved[0]


@right
def found_by_its_name(image, model, index):
    layer = dict(model.named_children())[str(index)]
    saved = {}
    handle = layer.register_forward_hook(lambda module, inp, out: saved.update({module: out}))
    try:
        model(image)
    finally:
        handle.remove()
    return saved[layer]


@right
def hands_a_clone_to_the_next_module(image, model, index):
    saved = []

    def hook(module, inputs, output):
        saved.append(output)
        return output.clone()

    handle = model.get_submodule(str(index)).register_forward_hook(hook)
    try:
        model(image)
    finally:
        handle.remove()
    return saved[0]


@right
def hook_on_a_deep_copy(image, model, index):
    twin = copy.deepcopy(model)
    saved = []
    handle = twin[index].register_forward_hook(lambda m, i, o: saved.append(o.clone()))
    try:
        twin(image)
    finally:
        handle.remove()
    return saved[0]


def _store(store, key, module, inputs, output):
    store[key] = output.clone()


@right
def hook_from_partial(image, model, index):
    store = {}
    handle = model[index].register_forward_hook(functools.partial(_store, store, "wanted"))
    try:
        model(image)
    finally:
        handle.remove()
    return store["wanted"]


@right
def layer_by_layer_with_a_hook(image, model, index):
    saved = []
    handle = model[index].register_forward_hook(lambda m, i, o: saved.append(o))
    try:
        x = image
        for i, layer in enumerate(model):
            x = layer(x)
            if i == index:
                break
    finally:
        handle.remove()
    return saved[0]


@right
def handle_kept_on_an_object(image, model, index):
    class Tap:
        def __init__(self, module):
            self.handle = module.register_forward_hook(self.save)

        def save(self, module, inputs, output):
            self.output = output.clone()

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            self.handle.remove()

    with Tap(model[index]) as tap:
        model(image)
    return tap.output


@right
def any_exception_whatever(image, model, index):
    saved = []
    handle = model[index].register_forward_hook(lambda m, i, o: saved.append(torch.clone(o)))
    error = None
    try:
        model(image)
    except BaseException as e:
        error = e
    handle.remove()
    if error is not None:
        raise error
    return saved[0]


@right(build=True)
def a_module():
    class ActivationWithHook(nn.Module):
        def forward(self, image, model, index):
            self.features = []
            handle = model[index].register_forward_hook(self.hook)
            try:
                model(image)
            finally:
                handle.remove()
            return self.features[0]

        def hook(self, module, inputs, output):
            self.features.append(output.clone())

    return ActivationWithHook()


@right(build=True)
def partial_of_a_recorder():
    def record(image, model, index, keep):
        saved = []
        with model[index].register_forward_hook(lambda m, i, o: saved.append(keep(o))):
            model(image)
        return saved[0]

    return functools.partial(record, keep=torch.clone)


# --- wrong ---------------------------------------------------------------------------------------


def _with_hook(module, run, hook):
    handle = module.register_forward_hook(hook)
    try:
        run()
    finally:
        handle.remove()


@wrong("hook-left")
def never_removed(image, model, index):
    saved = []
    model[index].register_forward_hook(lambda m, i, o: saved.append(o.clone()))
    model(image)
    return saved[0]


@wrong("hook-left")
def brackets_forgotten(image, model, index):
    saved = []
    handle = model[index].register_forward_hook(lambda m, i, o: saved.append(o.clone()))
    model(image)
    handle.remove  # noqa: B018
    return saved[0]


@wrong("hook-left")
def removed_after_return(image, model, index):
    saved = []
    handle = model[index].register_forward_hook(lambda m, i, o: saved.append(o.clone()))
    model(image)
    return saved[0]
    handle.remove()


@wrong("hook-left")
def handle_deleted(image, model, index):
    saved = []
    handle = model[index].register_forward_hook(lambda m, i, o: saved.append(o.clone()))
    try:
        model(image)
    finally:
        del handle
    return saved[0]


@wrong("hook-left")
def removed_only_after_an_error(image, model, index):
    saved = []
    handle = model[index].register_forward_hook(lambda m, i, o: saved.append(o.clone()))
    try:
        model(image)
    except Exception:
        handle.remove()
        raise
    return saved[0]


@wrong("hook-left")
def one_of_many_removed(image, model, index):
    outputs = []
    handle = None
    for layer in model:
        handle = layer.register_forward_hook(lambda m, i, o: outputs.append(o.clone()))
    try:
        model(image)
    finally:
        handle.remove()
    return outputs[index]


@wrong("hook-left")
def registered_twice(image, model, index):
    saved = []

    def hook(module, inputs, output):
        saved.append(output.clone())

    model[index].register_forward_hook(hook)
    handle = model[index].register_forward_hook(hook)
    try:
        model(image)
    finally:
        handle.remove()
    return saved[0]


@wrong("hook-left")
def the_first_hook_is_left(image, model, index):
    saved, handles = {}, []
    for i, layer in enumerate(model):
        handles.append(
            layer.register_forward_hook(lambda m, x, o, i=i: saved.update({i: o.clone()}))
        )
    try:
        model(image)
    finally:
        for handle in handles[1:]:
            handle.remove()
    return saved[index]


@wrong("hook-left")
def the_wrong_handle_removed(image, model, index):
    saved = []
    handle = model[index].register_forward_hook(lambda m, i, o: saved.append(o.clone()))
    handle = model.register_forward_hook(lambda m, i, o: None)
    try:
        model(image)
    finally:
        handle.remove()
    return saved[0]


@wrong("hook-left")
def backward_hook_beside_it(image, model, index):
    saved = []
    handle = model[index].register_forward_hook(lambda m, i, o: saved.append(o.clone()))
    model[index].register_full_backward_hook(lambda m, grad_in, grad_out: None)
    try:
        model(image)
    finally:
        handle.remove()
    return saved[0]


@wrong("hook-left")
def not_removed_for_index_zero(image, model, index):
    saved = []
    handle = model[index].register_forward_hook(lambda m, i, o: saved.append(o.clone()))
    try:
        model(image)
    finally:
        if index:
            handle.remove()
    return saved[0]


@wrong("hook-left-after-error")
def removed_after_the_call(image, model, index):
    saved = []

    def hook(module, inputs, output):
        saved.append(output.clone())

    handle = model[index].register_forward_hook(hook)
    model(image)
    handle.remove()
    return saved[0]


@wrong("hook-left-after-error")
def hook_removes_itself(image, model, index):
    saved = []

    def hook(module, inputs, output):
        saved.append(output.clone())
        handle.remove()

    handle = model[index].register_forward_hook(hook)
    model(image)
    return saved[0]


@wrong("hook-left-after-error")
def removed_in_else(image, model, index):
    saved = []
    handle = model[index].register_forward_hook(lambda m, i, o: saved.append(o.clone()))
    try:
        model(image)
    except Exception as error:
        print("did not work:", error)
        raise
    else:
        handle.remove()
    return saved[0]


@wrong("hook-left-after-error")
def only_runtime_errors_expected(image, model, index):
    saved = []
    handle = model[index].register_forward_hook(lambda m, i, o: saved.append(o.clone()))
    try:
        model(image)
    except AttributeError:
        handle.remove()
        raise
    handle.remove()
    return saved[0]


@wrong("hook-left-after-error")
def removed_if_something_was_saved(image, model, index):
    saved = []
    handle = model[index].register_forward_hook(lambda m, i, o: saved.append(o.clone()))
    try:
        model(image)
    finally:
        if saved:
            handle.remove()
    return saved[0]


@wrong("hook-left-after-error")
def registered_hooks_counted_down(image, model, index):
    saved = {}
    handles = []
    for i, layer in enumerate(model):
        hook = functools.partial(lambda i, m, inputs, o: saved.update({i: o.clone()}), i)
        handles.append(layer.register_forward_hook(hook))
    model(image)
    while handles:
        handles.pop().remove()
    return saved[index]


@wrong("hook-left-after-error")
def context_manager_without_finally(image, model, index):
    @contextlib.contextmanager
    def recording(module):
        saved = []
        handle = module.register_forward_hook(lambda m, i, o: saved.append(o.clone()))
        yield saved
        handle.remove()

    with recording(model[index]) as saved:
        model(image)
    return saved[0]


@wrong("takes-hook-input")
def saves_the_inputs_first_entry(image, model, index):
    saved = []

    def hook(module, inputs, output):
        saved.append(inputs[0].clone())

    _with_hook(model[index], lambda: model(image), hook)
    return saved[0]


@wrong("takes-hook-input")
def pre_hook(image, model, index):
    saved = []
    handle = model[index].register_forward_pre_hook(lambda m, args: saved.append(args[0].clone()))
    try:
        model(image)
    finally:
        handle.remove()
    return saved[0]


@wrong("takes-hook-input")
def arguments_in_the_wrong_order(image, model, index):
    saved = []

    def hook(module, output, inputs):
        saved.append(output[0].clone())

    _with_hook(model[index], lambda: model(image), hook)
    return saved[0]


@wrong("takes-hook-input", "wrong-type")
def saves_the_tuple_of_inputs(image, model, index):
    saved = []
    _with_hook(model[index], lambda: model(image), lambda m, i, o: saved.append(i))
    return saved[0]


@wrong("takes-hook-input", "one-late")
def input_of_the_next_module(image, model, index):
    saved = []
    following = model[min(index + 1, len(model) - 1)]
    _with_hook(following, lambda: model(image), lambda m, i, o: saved.append(i[0].clone()))
    return saved[0]


@wrong("whole-model")
def hook_on_the_model(image, model, index):
    saved = []
    _with_hook(model, lambda: model(image), lambda m, i, o: saved.append(o))
    return saved[0]


@wrong("whole-model", "ignores-index")
def hook_on_the_last_module(image, model, index):
    saved = []
    _with_hook(model[-1], lambda: model(image), lambda m, i, o: saved.append(o.clone()))
    return saved[0]


@wrong("whole-model")
def returns_what_the_model_returned(image, model, index):
    saved = []
    handle = model[index].register_forward_hook(lambda m, i, o: saved.append(o.clone()))
    try:
        output = model(image)
    finally:
        handle.remove()
    return output


@wrong("whole-model", "ignores-index")
def last_of_all_outputs(image, model, index):
    saved, handles = [], []
    for layer in model:
        handles.append(layer.register_forward_hook(lambda m, i, o: saved.append(o.clone())))
    try:
        model(image)
    finally:
        for handle in handles:
            handle.remove()
    return saved[-1]


@wrong("ignores-index", "raises")
def one_name_for_every_hook(image, model, index):
    features, handles = {}, []
    for i, layer in enumerate(model):
        handles.append(
            layer.register_forward_hook(lambda m, x, o: features.update({i: o.clone()}))  # noqa: B023
        )
    try:
        model(image)
    finally:
        for handle in handles:
            handle.remove()
    return features[index]


@wrong("ignores-index")
def always_the_first_module(image, model, index):
    saved = []
    _with_hook(model[0], lambda: model(image), lambda m, i, o: saved.append(o.clone()))
    return saved[0]


@wrong("ignores-index")
def first_of_all_outputs(image, model, index):
    saved = []
    with contextlib.ExitStack() as stack:
        for layer in model:
            stack.enter_context(
                layer.register_forward_hook(lambda m, i, o: saved.append(o.clone()))
            )
        model(image)
    return saved[0]


@wrong("one-early")
def hook_one_module_early(image, model, index):
    saved = []
    _with_hook(model[index - 1], lambda: model(image), lambda m, i, o: saved.append(o.clone()))
    return saved[0]


@wrong("one-late")
def hook_one_module_late(image, model, index):
    saved = []
    module = list(model.modules())[min(index + 2, len(model))]
    _with_hook(module, lambda: model(image), lambda m, i, o: saved.append(o.clone()))
    return saved[0]


@wrong("one-early")
def the_model_counted_as_a_module(image, model, index):
    saved = []
    module = list(model.modules())[index]
    _with_hook(module, lambda: model(image), lambda m, i, o: saved.append(o.clone()))
    return saved[0]


@wrong("only-that-module")
def module_called_on_the_image(image, model, index):
    saved = []
    layer = model[index]
    _with_hook(layer, lambda: layer(image), lambda m, i, o: saved.append(o))
    return saved[0]


@wrong("counts-convolutions")
def nth_convolution(image, model, index):
    convolutions = [m for m in model if isinstance(m, nn.Conv2d)]
    saved = []
    layer = convolutions[min(index, len(convolutions) - 1)]
    _with_hook(layer, lambda: model(image), lambda m, i, o: saved.append(o.clone()))
    return saved[0]


@wrong("from-the-end")
def counted_from_the_end(image, model, index):
    saved = []
    _with_hook(model[-index - 1], lambda: model(image), lambda m, i, o: saved.append(o.clone()))
    return saved[0]


@wrong("from-the-end")
def minus_index(image, model, index):
    saved = []
    _with_hook(model[-index], lambda: model(image), lambda m, i, o: saved.append(o.clone()))
    return saved[0]


@wrong("hook-not-used")
def an_ordinary_loop(image, model, index):
    x = image
    for i, layer in enumerate(model):
        x = layer(x)
        if i == index:
            return x


@wrong("hook-not-used")
def a_slice(image, model, index):
    return model[: index + 1](image)


@wrong("hook-not-used")
def hook_written_but_not_registered(image, model, index):
    saved = []

    def hook(module, inputs, output):
        saved.append(output)

    x = image
    for layer in model[: index + 1]:
        before, x = x, layer(x)
    hook(model[index], (before,), x)
    return saved[0]


@wrong("hook-not-used", "model-changed")
def forward_replaced_by_hand(image, model, index):
    layer = model[index]
    original = layer.forward
    saved = []

    def forward(x):
        saved.append(original(x).clone())
        return saved[0].clone()

    layer.forward = forward
    try:
        model(image)
    finally:
        layer.forward = original
    return saved[0]


@wrong("model-changed")
def all_hooks_of_the_module_cleared(image, model, index):
    saved = []
    model[index].register_forward_hook(lambda m, i, o: saved.append(o.clone()))
    try:
        model(image)
    finally:
        model[index]._forward_hooks.clear()
    return saved[0]


@wrong("model-changed")
def hooks_replaced_by_an_empty_dictionary(image, model, index):
    saved = []
    model[index].register_forward_hook(lambda m, i, o: saved.append(o.clone()))
    try:
        model(image)
    finally:
        for module in model.modules():
            module._forward_hooks = type(module._forward_hooks)()
    return saved[0]


@wrong("model-changed")
def cut_behind_the_module(image, model, index):
    saved = []
    handle = model[index].register_forward_hook(lambda m, i, o: saved.append(o.clone()))
    try:
        del model[index + 1 :]
        model(image)
    finally:
        handle.remove()
    return saved[0]


@wrong("model-changed")
def in_place_switched_off_for_good(image, model, index):
    saved = []
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    _with_hook(model[index], lambda: model(image), lambda m, i, o: saved.append(o))
    return saved[0]


@wrong("model-changed")
def left_in_training_mode(image, model, index):
    saved = []
    model.eval()
    _with_hook(model[index], lambda: model(image), lambda m, i, o: saved.append(o.clone()))
    model.train()
    return saved[0]


@wrong("model-changed")
def saved_on_the_module(image, model, index):
    def hook(module, inputs, output):
        module.activation = output.clone()

    _with_hook(model[index], lambda: model(image), hook)
    model[index].register_buffer("saved", model[index].activation)
    return model[index].activation


@wrong("overwritten-in-place", "model-changed")
def in_place_switched_on(image, model, index):
    saved = []
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True
    _with_hook(model[index], lambda: model(image), lambda m, i, o: saved.append(o))
    return saved[0]


@wrong("overwritten-in-place", "after-relu")
def relu_in_place_inside_the_hook(image, model, index):
    saved = []

    def hook(module, inputs, output):
        saved.append(output)
        return F.relu_(output)

    _with_hook(model[index], lambda: model(image), hook)
    return saved[0]


@wrong("after-relu")
def relu_of_the_output(image, model, index):
    saved = []
    _with_hook(model[index], lambda: model(image), lambda m, i, o: saved.append(torch.relu(o)))
    return saved[0]


@wrong("detached")
def detached_in_the_hook(image, model, index):
    saved = []
    _with_hook(model[index], lambda: model(image), lambda m, i, o: saved.append(o.detach().clone()))
    return saved[0]


@wrong("detached")
def data_in_the_hook(image, model, index):
    saved = {}

    def hook(module, inputs, output):
        saved["features"] = output.data.clone()

    _with_hook(model[index], lambda: model(image), hook)
    return saved["features"]


@wrong("detached")
def model_called_under_no_grad(image, model, index):
    saved = []
    handle = model[index].register_forward_hook(lambda m, i, o: saved.append(o.clone()))
    try:
        with torch.no_grad():
            model(image)
    finally:
        handle.remove()
    return saved[0]


@wrong("detached")
def decorated_with_no_grad_inside(image, model, index):
    saved = []

    @torch.no_grad()
    def hook(module, inputs, output):
        saved.append(output.clone())

    _with_hook(model[index], lambda: model(image), hook)
    return saved[0]


@wrong("detached")
def copy_of_the_picture(image, model, index):
    saved = []
    picture = torch.empty_like(image).copy_(image.detach())
    _with_hook(model[index], lambda: model(picture), lambda m, i, o: saved.append(o.clone()))
    return saved[0]


@wrong("wrong-type")
def returns_the_list(image, model, index):
    saved = []
    _with_hook(model[index], lambda: model(image), lambda m, i, o: saved.append(o.clone()))
    return saved


@wrong("wrong-type")
def returns_the_dictionary(image, model, index):
    saved = {}
    _with_hook(model[index], lambda: model(image), lambda m, i, o: saved.update({index: o.clone()}))
    return saved


@wrong("wrong-type")
def returns_the_handle(image, model, index):
    saved = []
    handle = model[index].register_forward_hook(lambda m, i, o: saved.append(o.clone()))
    model(image)
    handle.remove()
    return handle


@wrong("wrong-type")
def numpy_in_the_hook(image, model, index):
    saved = []
    _with_hook(
        model[index], lambda: model(image), lambda m, i, o: saved.append(o.detach().numpy().copy())
    )
    return saved[0]


@wrong("wrong-shape")
def without_the_batch(image, model, index):
    saved = []
    _with_hook(model[index], lambda: model(image), lambda m, i, o: saved.append(o[0].clone()))
    return saved[0]


@wrong("wrong-shape")
def stacked_outputs(image, model, index):
    saved = []
    _with_hook(model[index], lambda: model(image), lambda m, i, o: saved.append(o.clone()))
    return torch.stack(saved)


@wrong("wrong-dtype")
def float32_in_the_hook(image, model, index):
    saved = []
    _with_hook(model[index], lambda: model(image), lambda m, i, o: saved.append(o.float().clone()))
    return saved[0]


@wrong("wrong-device")
def moved_to_the_cpu(image, model, index):
    saved = []
    _with_hook(model[index], lambda: model(image), lambda m, i, o: saved.append(o.cpu().clone()))
    return saved[0]


@wrong("input-changed")
def clamps_the_image(image, model, index):
    saved = []
    with torch.no_grad():
        image.clamp_(0, 1)
    _with_hook(model[index], lambda: model(image), lambda m, i, o: saved.append(o.clone()))
    return saved[0]


@wrong("raises")
def removed_too_soon(image, model, index):
    saved = []
    handle = model[index].register_forward_hook(lambda m, i, o: saved.append(o))
    handle.remove()
    model(image)
    return saved[0]


@wrong("raises")
def hook_with_two_arguments(image, model, index):
    saved = []
    _with_hook(model[index], lambda: model(image), lambda module, output: saved.append(output))
    return saved[0]


@wrong("raises")
def model_never_called(image, model, index):
    saved = []
    with model[index].register_forward_hook(lambda m, i, o: saved.append(o)):
        pass
    return saved[0]


@wrong("raises")
def hook_called_instead_of_given(image, model, index):
    def hook(module, inputs, output):
        return output

    handle = model[index].register_forward_hook(hook())
    model(image)
    handle.remove()


@wrong("raises")
def text_for_an_index(image, model, index):
    saved = []
    _with_hook(model[f"{index}"], lambda: model(image), lambda m, i, o: saved.append(o))
    return saved[0]


@wrong("not-written", "hook-left-after-error")
def global_that_is_local(image, model, index):
    result = None

    def hook(module, inputs, output):
        result = output  # noqa: F841

    handle = model[index].register_forward_hook(hook)
    model(image)
    handle.remove()
    return result


@wrong("shared-state", build=True)
def global_list_never_cleared():
    saved = []

    def activation_with_hook(image, model, index):
        _with_hook(model[index], lambda: model(image), lambda m, i, o: saved.append(o.clone()))
        return saved[0]

    return activation_with_hook


@wrong("shared-state", build=True)
def default_dictionary_remembers():
    def activation_with_hook(image, model, index, features={}):  # noqa: B006
        if index in features:
            return features[index]
        _with_hook(
            model[index], lambda: model(image), lambda m, i, o: features.update({index: o.clone()})
        )
        return features[index]

    return activation_with_hook


@wrong("constant")
def hook_output_replaced_by_ones(image, model, index):
    saved = []
    _with_hook(model[index], lambda: model(image), lambda m, i, o: saved.append(torch.ones_like(o)))
    return saved[0]


@wrong("random")
def a_random_picture(image, model, index):
    saved = []
    picture = torch.rand_like(image)
    _with_hook(model[index], lambda: model(picture), lambda m, i, o: saved.append(o.clone()))
    return saved[0]


@wrong("not-written")
def stub(image, model, index):
    raise NotImplementedError


@wrong("not-written")
def nothing_returned(image, model, index):
    saved = []
    with model[index].register_forward_hook(lambda m, i, o: saved.append(o)):
        model(image)


@wrong("not-a-function", build=True)
def the_hook_class():
    return _Recorder


@wrong("not-a-function", build=True)
def a_tensor():
    return torch.zeros(1, 8, 4, 4)


@wrong("wrong-arguments")
def hook_signature(module, inputs, output):
    return output


@wrong("wrong-arguments")
def without_index(image, model):
    saved = []
    with model[0].register_forward_hook(lambda m, i, o: saved.append(o.clone())):
        model(image)
    return saved[0]


@wrong("wrong-arguments")
def called_layer(image, model, layer):
    saved = []
    with model[layer].register_forward_hook(lambda m, i, o: saved.append(o.clone())):
        model(image)
    return saved[0]

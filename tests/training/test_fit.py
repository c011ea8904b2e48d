import copy
import math
import random
import time
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lib.training.ema import EMA
from lib.training.fit import annealed, fit

X = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
Y = X @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.3
BATCHES = [(X[i : i + 8], Y[i : i + 8]) for i in range(0, 40, 8)]


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))


def squares(model, batch):
    return (model(batch[0]) - batch[1]).square().mean()


def quiet(model, batches=BATCHES, loss=squares, **options):
    return fit(model, batches, loss, device="cpu", show=False, **({"steps": 20} | options))


def weights(model):
    return torch.cat([tensor.flatten().double() for tensor in model.state_dict().values()])


def test_it_learns_and_says_so():
    model = network()
    history = quiet(model, steps=300, learning_rate=0.03)
    assert history.loss < 0.15 * history.losses[0]
    assert (model(X) - Y).square().mean() < 0.1 * Y.var()
    assert history.steps == len(history.losses) == len(history.learning_rates) == len(history.times) == 300
    assert not model.training and not history.interrupted


def test_same_seed_same_weights():
    def noisy(model, batch):
        return squares(
            model,
            (batch[0] + 0.1 * torch.randn_like(batch[0]), batch[1] * np.random.uniform(0.9, 1.1) + random.random()),
        )

    first, second, other = network(), network(), network()
    batches = DataLoader(TensorDataset(X, Y), batch_size=8, shuffle=True)
    histories = [quiet(model, batches, noisy, seed=seed) for model, seed in ((first, 1), (second, 1), (other, 2))]
    assert torch.equal(weights(first), weights(second)) and histories[0].losses == histories[1].losses
    assert not torch.equal(weights(first), weights(other))


def test_validation_does_not_change_the_training():
    first, second = network(), network()
    noisy = lambda model, batch: squares(model, (batch[0] + torch.randn_like(batch[0]), batch[1]))  # noqa: E731
    quiet(first, loss=noisy)
    quiet(second, loss=noisy, validate=lambda model: {"score": torch.rand(3).sum()}, validations=7)
    assert torch.equal(weights(first), weights(second))


def test_learning_rate_rises_then_falls_to_nothing():
    rates = quiet(network(), steps=200, learning_rate=0.5).learning_rates
    top = rates.index(max(rates))
    assert 15 <= top <= 25 and max(rates) == pytest.approx(0.5, rel=0.01)
    assert rates[0] < 0.05 * 0.5 + 0.01 and rates[-1] < 1e-4
    assert rates[:top] == sorted(rates[:top]) and rates[top:] == sorted(rates[top:], reverse=True)


def test_annealing_by_hand():
    assert annealed(0) == pytest.approx(0.04) and annealed(0.1) == 1 and annealed(1) == pytest.approx(0)
    assert annealed(0.05) == pytest.approx(0.52) and annealed(0.55) == pytest.approx(0.5)
    assert annealed(0, warmup=0) == 1 and annealed(0.5, warmup=0) == pytest.approx(0.5)


def test_a_budget_of_seconds_is_kept_and_annealed_within():
    start = time.process_time()
    history = quiet(network(), steps=None, seconds=0.5, learning_rate=0.1)
    assert history.times[-2] < 0.5 <= history.times[-1] == history.seconds  # no step is begun after its end
    assert time.process_time() - start < 2.0
    assert history.timed and history.steps > 20
    assert max(history.learning_rates) > 0.09 and history.learning_rates[-1] < 0.01


def test_validation_takes_nothing_from_the_budget_of_seconds():
    start = time.perf_counter()
    history = quiet(
        network(), steps=None, seconds=0.3, validations=3, validate=lambda model: time.sleep(0.2) or {"score": 1.0}
    )
    assert time.perf_counter() - start - history.seconds >= 3 * 0.2  # so long it slept, and none of it is counted
    assert history.times[-2] < 0.3 <= history.seconds
    assert history.steps > 10 and len(history.metrics["score"]) == 3
    assert history.metric_steps[-1] == history.steps and history.times == sorted(history.times)


@pytest.mark.parametrize(
    "steps, validations, expected",
    [(20, 5, [4, 8, 12, 16, 20]), (3, 5, [1, 2, 3]), (7, 1, [7]), (50, 50, list(range(1, 51)))],
)
def test_validation_is_spread_evenly_and_ends_with_the_budget(steps, validations, expected):
    seen = []

    def validate(model):
        assert not model.training and not torch.is_grad_enabled()
        seen.append(weights(model))
        return {"score": torch.tensor(0.5), "list": [1, 2], "count": 3}

    model = network()
    history = quiet(model, steps=steps, validate=validate, validations=validations)
    assert history.metric_steps == expected and len(seen) == len(expected)
    assert history.metrics == {"score": [0.5] * len(seen), "count": [3.0] * len(seen)}
    assert torch.equal(seen[-1], weights(model))  # the averaged weights, which the model keeps


def test_moving_average_is_the_formula():
    decays, values = [], []
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 2.0)
    average = EMA(model, 0.5)
    expected = 2.0
    for step in range(1, 13):
        nn.init.constant_(model.weight, float(step * step))
        average.update(model)
        decays.append(min(0.5, (1 + step) / (10 + step)))
        expected = decays[-1] * expected + (1 - decays[-1]) * step * step
        values.append(average.tensors[0].item() - expected)
    assert max(map(abs, values)) < 1e-4 and decays[0] == 2 / 11 and decays[-1] == 0.5


def test_the_model_ends_with_the_average_of_its_weights_and_buffers():
    model, seen = network(), []

    def watched(model, batch):
        seen.append(copy.deepcopy(model))  # the weights before each step
        return squares(model, batch)

    start = copy.deepcopy(model)
    quiet(model, loss=watched, steps=12, ema=0.8)
    plain = network()
    quiet(plain, steps=12, ema=None)  # the weights after the last step
    average = EMA(start, 0.8)
    for after in (*seen[1:], plain):
        average.update(after)
    average.copy_to(start)
    torch.testing.assert_close(weights(model), weights(start))
    assert model[1].num_batches_tracked == 12
    assert not torch.allclose(model[1].running_mean, plain[1].running_mean)


def test_lent_averages_are_given_back_even_after_an_error():
    model = network()
    average = EMA(model, 0.9)
    with torch.no_grad():
        model[0].weight.add_(1)
    before = weights(model)
    with pytest.raises(RuntimeError), average.lent_to(model):
        assert not torch.equal(weights(model), before)
        raise RuntimeError
    assert torch.equal(weights(model), before)


@pytest.mark.parametrize("where", ["loss", "validate", "batches"])
def test_an_interrupt_keeps_what_was_learned(where):
    calls = {"loss": 0, "validate": 0, "batches": 0}

    def count(name, limit):
        calls[name] += 1
        if where == name and calls[name] == limit:
            raise KeyboardInterrupt

    def loss(model, batch):
        count("loss", 11)
        return squares(model, batch)

    def validate(model):
        count("validate", 1)  # after 10 of 50 steps
        return {"score": 1.0}

    def batches():
        count("batches", 11)
        return BATCHES[(calls["batches"] - 1) % len(BATCHES)]

    model = network()
    history = quiet(model, batches, loss, steps=50, learning_rate=0.05, validate=validate)
    assert history.interrupted and history.steps == 10 and not model.training

    twin, average, after = network(), EMA(network(), 0.99), []
    quiet(
        twin,
        loss=lambda model, batch: after.append(copy.deepcopy(model)) or squares(model, batch),
        steps=50,
        learning_rate=0.05,
    )
    for weights_after_a_step in after[1:11]:
        average.update(weights_after_a_step)
    average.copy_to(twin)
    assert torch.equal(weights(model), weights(twin))  # the average of the ten steps made, nothing else


def test_an_interrupt_before_the_first_step():
    def loss(model, batch):
        raise KeyboardInterrupt

    model = network()
    history = quiet(model, loss=loss)
    assert history.interrupted and history.steps == 0 and torch.equal(weights(model), weights(network()))
    assert repr(history) == "History: Sequential, no step made" and math.isnan(history.loss)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_names_the_step(bad):
    model, count = network(), iter(range(100))

    def loss(model, batch):
        return {"fine": squares(model, batch), "odd": model(batch[0]).sum() * (bad if next(count) == 6 else 1e-3)}

    with pytest.raises(FloatingPointError, match=r"step 7 \(fine .*, odd .*(nan|inf)"):
        quiet(model, loss=loss)
    assert weights(model).isfinite().all() and not model.training


@pytest.mark.parametrize("clip", [5.0, None])
def test_a_step_with_a_gradient_that_is_not_finite_is_not_made(clip):
    model = network()

    def loss(model, batch):  # the root of 0 is 0, and its slope is infinite: times 0 it is NaN
        return squares(model, batch) + (0 * model[0].weight).sqrt().sum()

    with pytest.raises(FloatingPointError, match="^the gradient is not finite at step 1"):
        quiet(model, loss=loss, clip=clip)
    for parameter, before in zip(model.parameters(), network().parameters(), strict=True):
        assert torch.equal(parameter, before)
    assert not model.training


def test_named_parts_are_added_and_remembered():
    def parts(model, batch):
        error = model(batch[0]) - batch[1]
        return {"square": error.square().mean(), "absolute": 0.1 * error.abs().mean()}

    one, other = network(), network()
    history = quiet(one, loss=parts)
    quiet(other, loss=lambda model, batch: sum(parts(model, batch).values()))
    torch.testing.assert_close(weights(one), weights(other))
    assert set(history.parts) == {"square", "absolute"}
    torch.testing.assert_close(torch.tensor(history.losses), sum(torch.tensor(v) for v in history.parts.values()))


def test_gradients_are_shortened():
    class Watched(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return x.clone()

        @staticmethod
        def backward(context, gradient):
            return gradient * 1e6

    steep = lambda model, batch: Watched.apply(squares(model, batch))  # noqa: E731
    model = network()
    quiet(model, loss=steep, steps=1, clip=2.0)
    length = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
    assert length == pytest.approx(2.0, rel=1e-3)
    model = network()
    quiet(model, loss=steep, steps=1, clip=None)
    assert torch.cat([p.grad.flatten() for p in model.parameters()]).norm() > 1e3


def test_frozen_parameters_stay_and_only_matrices_decay():
    model = network()
    model[0].requires_grad_(False)
    before = copy.deepcopy(model)
    zero = lambda model, batch: 0 * squares(model, batch)  # noqa: E731
    quiet(model, loss=zero, ema=None, weight_decay=0.5, learning_rate=0.1)
    assert torch.equal(model[0].weight, before[0].weight) and torch.equal(model[3].bias, before[3].bias)
    assert (model[3].weight.abs() < before[3].weight.abs()).all()


class Pair(NamedTuple):
    x: torch.Tensor
    rest: dict


def test_batches_of_any_kind_arrive_whole():
    def loss(model, batch):
        assert isinstance(batch, Pair) and isinstance(batch.rest["list"], list) and batch.rest["name"] == "one"
        return squares(model, (batch.x, batch.rest["list"][0]))

    batches = [Pair(x, {"list": [y], "name": "one"}) for x, y in BATCHES]
    model, plain = network(), network()
    quiet(model, batches, loss)
    quiet(plain)
    assert torch.equal(weights(model), weights(plain))


def test_lists_functions_and_generators_give_the_same():
    def endless():
        while True:
            yield from BATCHES

    count = iter(range(1000))
    sources = [BATCHES, endless, endless(), lambda: BATCHES[next(count) % len(BATCHES)], (b for b in BATCHES * 4)]
    results = []
    for source in sources:
        model = network()
        quiet(model, source)
        results.append(weights(model))
    assert all(torch.equal(results[0], other) for other in results[1:])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_model_and_batches_move_to_the_gpu():
    model = network()
    history = fit(
        model,
        [{"x": [x], "y": y} for x, y in BATCHES],
        lambda m, b: squares(m, (b["x"][0], b["y"])),
        steps=10,
        device="cuda",
        show=False,
        validate=lambda m: {"score": m(X.cuda()).mean()},
    )
    assert next(model.parameters()).is_cuda and history.steps == 10


@pytest.mark.parametrize(
    "options, named",
    [
        ({"steps": None}, "steps"),
        ({"steps": 3, "seconds": 2.0}, "steps"),
        ({"steps": 0}, "steps"),
        ({"steps": 2.5}, "steps"),
        ({"steps": None, "seconds": 0.0}, "seconds"),
        ({"steps": None, "seconds": math.inf}, "seconds"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"weight_decay": -1}, "weight_decay"),
        ({"warmup": 1}, "warmup"),
        ({"ema": 1}, "decay"),
        ({"clip": 0}, "clip"),
        ({"validations": 0}, "validations"),
        ({"batches": []}, "batches"),
        ({"batches": iter(BATCHES)}, "batches"),
        ({"loss": lambda model, batch: model(batch[0])}, "loss"),
        ({"loss": lambda model, batch: 3.0}, "loss"),
        ({"loss": lambda model, batch: {}}, "loss"),
        ({"validate": lambda model: 0.5}, "validate"),
        ({"model": network().requires_grad_(False)}, "model"),
    ],
)
def test_bad_input_is_named(options, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        quiet(options.pop("model", network()), **options)

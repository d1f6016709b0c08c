import gc
import random
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Function, make_net
from textbook import CLASSES, SIZE, losses_of, make_batch, pgd_one_by_one
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision import tv_tensors

from torchprotect.adversarial import PGDSettings, distances, pgd_l2
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError, ModelError

HOW = {"eps": 0.5, "step_size": 0.15, "steps": 6}
NET = make_net()


class TestSearch:
    @pytest.mark.parametrize("keep_best", [True, False])
    @pytest.mark.parametrize("targeted", [True, False])
    @pytest.mark.parametrize(
        "how", [HOW, {"eps": 0.2, "step_size": 0.3, "steps": 4}, {"eps": 6.0, "step_size": 2.0, "steps": 5}]
    )
    def test_equals_the_textbook_one_by_one(self, how, targeted, keep_best):
        images, targets = make_batch()
        found = pgd_l2(NET, images, targets, keep_best=keep_best, targeted=targeted, **how)
        expected = pgd_one_by_one(NET, images, targets, keep_best=keep_best, targeted=targeted, **how)
        torch.testing.assert_close(found.images, expected, rtol=0, atol=1e-9)
        torch.testing.assert_close(found.distances, (expected - images).flatten(1).norm(dim=1), rtol=0, atol=1e-9)
        if keep_best:
            torch.testing.assert_close(found.losses, losses_of(NET, expected, targets), rtol=0, atol=1e-9)

    @pytest.mark.slow
    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(
        eps=st.floats(1e-3, 100),
        step_size=st.floats(1e-3, 10),
        steps=st.integers(1, 5),
        dtype=st.sampled_from([torch.float32, torch.float64]),
        bounds=st.sampled_from([(0.0, 1.0), (-0.7, 1.3), (-3, 70.1)]),
        seed=st.integers(0, 99),
        flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    )
    def test_stays_in_the_ball_and_in_bounds(self, eps, step_size, steps, dtype, bounds, seed, flags):
        keep_best, random_start, targeted = flags
        images, targets = make_batch(4, dtype, seed)
        images = (images * (bounds[1] - bounds[0]) + bounds[0]).clamp(*bounds)
        found = pgd_l2(
            make_net(dtype),
            images,
            targets,
            eps=eps,
            step_size=step_size,
            steps=steps,
            bounds=bounds,
            keep_best=keep_best,
            random_start=random_start,
            targeted=targeted,
            generator=torch.Generator().manual_seed(seed),
        )
        true_distances = (found.images.double() - images.double()).flatten(1).norm(dim=1)
        assert float(true_distances.max()) <= eps + 1e-6
        assert float(found.distances.max()) <= eps + 1e-6
        edges = torch.tensor(bounds, dtype=dtype)
        assert bool((found.images >= edges[0]).all() and (found.images <= edges[1]).all())
        assert found.images.dtype == dtype
        again = pgd_l2(make_net(dtype), found.images, targets, eps=eps, step_size=1, steps=1, bounds=bounds)
        assert again.images.shape == images.shape  # what it returns it also takes

    @pytest.mark.parametrize("eps", [0.3, 2.0, 30.0, 300.0])
    def test_stays_in_the_ball_of_large_images(self, eps):
        """Sums of 307,200 squares in float32, over which a careless norm is off by 2e-6 of itself."""
        images = torch.rand(2, 3, 320, 320, generator=torch.Generator().manual_seed(0))
        pattern = torch.rand(2, 3, 320, 320, generator=torch.Generator().manual_seed(1)) - 0.5
        net = Function(lambda x: 1e-4 * torch.stack([(x * pattern).sum((1, 2, 3)), x.sum((1, 2, 3)) * 0], 1))
        found = pgd_l2(net, images, torch.tensor([0, 1]), eps=eps, step_size=eps, steps=3, keep_best=False)
        true_distances = (found.images.double() - images.double()).flatten(1).norm(dim=1)
        assert float(true_distances.max()) <= eps + 1e-6
        assert float(true_distances.min()) > 0.95 * min(eps, 30)
        assert float((found.distances - true_distances).abs().max()) < 1e-6 * max(eps, 1)

    def test_batch_equals_singles(self):
        images, targets = make_batch(6)
        for keep_best in (True, False):
            batch = pgd_l2(NET, images, targets, keep_best=keep_best, **HOW)
            for n in range(6):
                single = pgd_l2(NET, images[n : n + 1], targets[n : n + 1], keep_best=keep_best, **HOW)
                torch.testing.assert_close(single.images[0], batch.images[n], rtol=0, atol=1e-9)

    def test_best_iterate_has_the_lowest_loss(self):
        images, targets = make_batch(8)
        how = {"eps": 0.5, "step_size": 0.9, "steps": 9}  # steps so long that the loss goes up and down
        best = pgd_l2(NET, images, targets, **how)
        for steps in range(1, 10):
            last = pgd_l2(NET, images, targets, keep_best=False, **{**how, "steps": steps})
            assert bool((best.losses <= losses_of(NET, last.images, targets) + 1e-12).all())
        assert bool(
            (best.losses < losses_of(NET, last.images, targets) - 1e-3).any()
        )  # keeping the best changed the result
        assert bool((best.losses <= losses_of(NET, images, targets)).all())
        torch.testing.assert_close(best.losses, losses_of(NET, best.images, targets), rtol=0, atol=1e-12)

    def test_image_without_improvement_is_returned_unchanged(self):
        rising = Function(lambda x: torch.stack([-(x - 0.5).square().sum((1, 2, 3)), 0 * x.sum((1, 2, 3))], 1))
        images = torch.full((2, *SIZE), 0.5)  # already the best for class 0: the gradient is 0
        found = pgd_l2(rising, images, torch.zeros(2, dtype=torch.int64), **HOW)
        assert torch.equal(found.images, images)
        assert found.max_distance == 0
        assert found.images.data_ptr() != images.data_ptr()

    def test_untargeted_raises_the_loss_and_targeted_lowers_it(self):
        images, targets = make_batch(8)
        plain = losses_of(NET, images, targets)
        away, toward = (pgd_l2(NET, images, targets, targeted=targeted, **HOW) for targeted in (False, True))
        assert bool((away.losses > plain + 0.04).all())
        assert bool((toward.losses < plain - 0.04).all())
        for found in (away, toward):
            torch.testing.assert_close(found.losses, losses_of(NET, found.images, targets), rtol=0, atol=1e-12)

    def test_losses_without_keep_best_are_those_before_the_last_step(self):
        images, targets = make_batch()
        last = pgd_l2(NET, images, targets, keep_best=False, **HOW)
        before = pgd_l2(NET, images, targets, keep_best=False, **{**HOW, "steps": HOW["steps"] - 1})
        torch.testing.assert_close(last.losses, losses_of(NET, before.images, targets), rtol=0, atol=1e-12)

    @pytest.mark.parametrize(("keep_best", "passes"), [(True, 7), (False, 6)])
    def test_number_of_forward_passes(self, keep_best, passes):
        count = []
        net = Function(lambda x: count.append(1) or NET(x))
        pgd_l2(net, *make_batch(), keep_best=keep_best, **HOW)
        assert len(count) == passes

    def test_pgd_of_flat_vectors_and_two_dimensions(self):
        images = torch.rand(3, 7, generator=torch.Generator().manual_seed(0))
        net = nn.Linear(7, 3)
        found = pgd_l2(net, images, torch.tensor([0, 1, 2]), **HOW)
        assert found.images.shape == (3, 7)
        assert 0 < found.max_distance <= 0.5 + 1e-6


class TestRandomStart:
    def test_repeatable_with_a_generator_and_without_touching_the_global_one(self):
        images, targets = make_batch()
        state = torch.get_rng_state()
        runs = [
            pgd_l2(NET, images, targets, random_start=True, generator=torch.Generator().manual_seed(seed), **HOW)
            for seed in (1, 1, 2)
        ]
        assert torch.equal(runs[0].images, runs[1].images)
        assert not torch.equal(runs[0].images, runs[2].images)
        assert torch.equal(torch.get_rng_state(), state)

    def test_without_a_generator_it_takes_the_global_one(self):
        images, targets = make_batch()
        with torch.random.fork_rng(devices=[]):
            runs = []
            for seed in (1, 1, 2):
                torch.manual_seed(seed)
                runs.append(pgd_l2(NET, images, targets, random_start=True, **HOW).images)
        assert torch.equal(runs[0], runs[1])
        assert not torch.equal(runs[0], runs[2])

    def test_spread_over_the_ball(self):
        """A constant network has no gradient, so the result is the starting point."""
        seen = []
        flat = Function(lambda x: seen.append(x.detach().clone()) or (x * 0).flatten(1)[:, :2])
        images = torch.full((4000, 1, 1, 2), 0.5, dtype=torch.float64)
        how = {"eps": 0.25, "step_size": 0.1, "steps": 1, "random_start": True}
        pgd_l2(flat, images, torch.zeros(4000, dtype=torch.int64), generator=torch.Generator().manual_seed(0), **how)
        away = (seen[0] - images).flatten(1)
        radius = away.norm(dim=1)
        assert float(radius.max()) <= 0.25 + 1e-6
        weight = float((radius < 0.125).double().mean())  # a quarter of a disc lies within half its radius
        assert abs(weight - 0.25) < 0.04
        assert float(away.mean(0).abs().max()) < 0.01

    def test_in_bounds_at_the_edge(self):
        seen = []
        flat = Function(lambda x: seen.append(x.detach().clone()) or (x * 0).flatten(1)[:, :2])
        images = torch.zeros(50, *SIZE)
        images[:, 1] = 1
        pgd_l2(flat, images, torch.zeros(50, dtype=torch.int64), random_start=True, **HOW)
        assert float(seen[0].min()) >= 0
        assert float(seen[0].max()) <= 1
        assert float((seen[0] - images).flatten(1).norm(dim=1).max()) <= HOW["eps"] + 1e-6


def state_of(model):
    return (
        [module.training for module in model.modules()],
        [parameter.requires_grad for parameter in model.parameters()],
        [parameter.grad for parameter in model.parameters()],
        {name: value.clone() for name, value in model.state_dict().items()},
    )


class TestModelState:
    def mixed(self):
        """Training mode, except for one frozen layer; some parameters do not require gradients."""
        net = make_net().train()
        net[1].eval()
        net[4].weight.requires_grad_(False)
        return net

    def same(self, before, after):
        assert before[:3] == after[:3]
        assert all(torch.equal(before[3][name], after[3][name]) for name in before[3])

    @pytest.mark.parametrize("keep_best", [True, False])
    def test_restored(self, keep_best):
        net = self.mixed()
        before = state_of(net)
        assert before[2] == [None] * len(before[2])
        pgd_l2(net, *make_batch(), keep_best=keep_best, **HOW)
        self.same(before, state_of(net))

    def test_stored_gradients_are_left_alone(self):
        net, (images, targets) = make_net().train(), make_batch()
        nn.functional.cross_entropy(net(images), targets).backward()
        before = [parameter.grad.clone() for parameter in net.parameters()]
        pgd_l2(net, images, targets, **HOW)
        assert all(torch.equal(b, p.grad) for b, p in zip(before, net.parameters(), strict=True))

    @pytest.mark.parametrize("at", [1, 4, 7])
    @pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
    def test_restored_after_an_error(self, at, error):
        net, calls = self.mixed(), []

        def fail(module, inputs):
            calls.append(1)
            if len(calls) == at:
                raise error

        net.register_forward_pre_hook(fail)
        before = state_of(net)
        with pytest.raises(error):
            pgd_l2(net, *make_batch(), **HOW)
        self.same(before, state_of(net))

    def test_restored_after_invalid_output(self):
        net = self.mixed()
        net.append(Function(lambda x: x * torch.nan))
        before = state_of(net)
        with pytest.raises(ModelError, match="NaN"):
            pgd_l2(net, *make_batch(), **HOW)
        self.same(before, state_of(net))

    def test_training_mode_makes_no_difference(self):
        """Dropout and batch statistics are off during the search."""
        images, targets = make_batch()
        expected = pgd_l2(NET, images, targets, **HOW).images
        assert torch.equal(pgd_l2(make_net().train(), images, targets, **HOW).images, expected)

    def test_modules_that_override_train(self):
        class Frozen(nn.Sequential):
            """A network whose batch norm stays in eval mode, as in detection backbones."""

            def train(self, mode=True):
                super().train(mode)
                self[1].training = False
                return self

        net = Frozen(*make_net()).train()
        before = [module.training for module in net.modules()]
        pgd_l2(net, *make_batch(), **HOW)
        assert [module.training for module in net.modules()] == before
        assert True in before
        assert False in before

    def test_global_generators_are_left_alone(self):
        states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
        pgd_l2(make_net().train(), *make_batch(), **HOW)
        assert torch.equal(states[0], torch.get_rng_state())
        assert (states[1] == np.random.get_state()[1]).all()
        assert states[2] == random.getstate()


class TestCallers:
    @pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
    def test_any_gradient_mode(self, context):
        images, targets = make_batch()
        expected = pgd_l2(NET, images, targets, **HOW)
        net = make_net().train()
        with context():
            found = pgd_l2(net, images.clone(), targets.clone(), **HOW)
            assert torch.is_grad_enabled() == (context is torch.enable_grad)
        assert torch.equal(found.images, expected.images)
        assert not found.images.is_inference()
        assert not found.images.requires_grad
        assert not found.losses.requires_grad

    def test_model_made_in_inference_mode(self):
        with torch.inference_mode():
            net = make_net()
        with pytest.raises(ModelError, match="inference_mode"):
            pgd_l2(net, *make_batch(), **HOW)

    def test_images_that_require_gradients(self):
        images, targets = make_batch()
        images.requires_grad_()
        found = pgd_l2(NET, images, targets, **HOW)
        assert images.grad is None
        assert images.requires_grad
        assert not found.images.requires_grad
        assert torch.equal(found.images, pgd_l2(NET, images.detach(), targets, **HOW).images)

    def test_arguments_are_not_modified(self):
        images, targets = make_batch()
        kept = images.clone(), targets.clone()
        pgd_l2(NET, images, targets, **HOW)
        assert torch.equal(images, kept[0])
        assert torch.equal(targets, kept[1])

    def test_views_and_expanded_images(self):
        images, targets = make_batch(4)
        expected = pgd_l2(NET, images, targets, **HOW).images
        twice = torch.stack([images, images], 1)[:, 1]
        torch.testing.assert_close(pgd_l2(NET, twice, targets, **HOW).images, expected, rtol=0, atol=1e-12)
        one = images[:1].expand(4, -1, -1, -1)
        found = pgd_l2(NET, one, targets, **HOW).images
        assert torch.equal(found, pgd_l2(NET, one.contiguous(), targets, **HOW).images)
        assert not torch.equal(found[0], found[1])
        turned = images.mT.contiguous().mT
        torch.testing.assert_close(pgd_l2(NET, turned, targets, **HOW).images, expected, rtol=0, atol=1e-12)

    def test_tv_tensors(self):
        images, targets = make_batch()
        found = pgd_l2(NET, tv_tensors.Image(images), targets, **HOW)
        assert torch.equal(found.images.as_subclass(torch.Tensor), pgd_l2(NET, images, targets, **HOW).images)

    @pytest.mark.parametrize(
        "spoil", [lambda x: x.sub_(0.5), lambda x: x.data.sub_(0.5), nn.functional.hardtanh_, torch.relu_]
    )
    def test_model_that_overwrites_its_input(self, spoil):
        images, targets = make_batch()
        net = nn.Sequential(Function(lambda x: (spoil(x), x)[1]), *make_net())
        copying = nn.Sequential(Function(lambda x: (spoil(c := x.clone()), c)[1]), *make_net())
        kept = images.clone()
        found = pgd_l2(net, images, targets, **HOW)
        assert torch.equal(images, kept)
        assert torch.equal(found.images, pgd_l2(copying, images, targets, **HOW).images)

    def test_caller_in_autocast_gets_full_precision(self):
        images, targets = make_batch(dtype=torch.float32)
        net = make_net(torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            found = pgd_l2(net, images, targets, **HOW).images
        assert torch.equal(found, pgd_l2(net, images, targets, **HOW).images)


class TestOptions:
    def test_channels_last(self):
        images, targets = make_batch()
        seen = []
        net = make_net()
        net.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        found = pgd_l2(net, images, targets, channels_last=True, **HOW)
        assert all(x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous() for x in seen)
        assert found.images.is_contiguous()
        expected = pgd_l2(NET, images, targets, **HOW)
        torch.testing.assert_close(found.images, expected.images, rtol=0, atol=1e-9)
        torch.testing.assert_close(found.distances, expected.distances, rtol=0, atol=1e-9)

    @pytest.mark.parametrize("option", [True, False])
    def test_memory_format_is_kept(self, option):
        images, targets = make_batch()
        images = images.contiguous(memory_format=torch.channels_last)
        found = pgd_l2(NET, images, targets, channels_last=option, **HOW).images
        assert found.is_contiguous(memory_format=torch.channels_last)
        expected = pgd_l2(NET, images.contiguous(), targets, **HOW).images
        torch.testing.assert_close(found.contiguous(), expected, rtol=0, atol=1e-9)

    def test_bfloat16(self):
        images, targets = make_batch(8, torch.float32)
        net, seen = make_net(torch.float32).train(), []
        net[4].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
        found = pgd_l2(net, images, targets, precision=torch.bfloat16, **HOW)
        assert set(seen) == {torch.bfloat16}
        assert found.images.dtype == found.losses.dtype == torch.float32
        assert found.max_distance <= HOW["eps"] + 1e-6
        exact = pgd_l2(net, images, targets, **HOW)
        plain = losses_of(net.eval(), images, targets)
        gained = (plain - found.losses).mean() / (plain - exact.losses).mean()
        assert 0.9 < float(gained) < 1.1

    def test_compiled(self):
        images, targets = make_batch()
        net = make_net().train()
        compiled = torch.compile(net, backend="eager")
        found = pgd_l2(compiled, images, targets, **HOW)
        torch.testing.assert_close(found.images, pgd_l2(NET, images, targets, **HOW).images, rtol=0, atol=1e-9)
        assert all(module.training for module in net.modules())
        assert compiled.training
        assert all(parameter.requires_grad for parameter in net.parameters())

    def test_one_settings_object(self):
        with pytest.raises(AttributeError):
            PGDSettings(**HOW).eps = 1


class Live(TorchDispatchMode):
    """Follows every tensor that an operator makes, and keeps the highest number of bytes alive at once."""

    def __init__(self):
        super().__init__()
        self.made, self.peak = [], 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        outs = out if isinstance(out, tuple | list) else [out]
        self.made += [weakref.ref(tensor) for tensor in outs if isinstance(tensor, torch.Tensor)]
        alive = [tensor for made in self.made if (tensor := made()) is not None]
        self.made = [weakref.ref(tensor) for tensor in alive]
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in alive}
        self.peak = max(self.peak, sum(storages.values()))
        return out


@pytest.mark.slow
@pytest.mark.parametrize("keep_best", [True, False])
def test_memory_does_not_grow_with_steps(keep_best):
    images, targets = make_batch()
    peaks = []
    for steps in (2, 4, 16, 1):
        gc.collect()
        with Live() as live:
            pgd_l2(NET, images, targets, keep_best=keep_best, **{**HOW, "steps": steps})
        peaks.append(live.peak)
    assert peaks[0] == peaks[1] == peaks[2]
    assert peaks[3] > images.numel() * 8  # it does see tensors


def test_memory_meter_counts_graph_memory():
    x, peaks = torch.rand(100, requires_grad=True), []
    for steps in (2, 8):
        with Live() as live:
            y = x
            for _ in range(steps):
                y = y.sin()
            y.sum().backward()
        peaks.append(live.peak)
        del y
    assert peaks[1] > 2 * peaks[0]


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"eps": 0}, InputRangeError, "eps must be a finite number above 0"),
            ({"eps": -1.0}, InputRangeError, "eps"),
            ({"eps": float("nan")}, InputRangeError, "eps"),
            ({"eps": float("inf")}, InputRangeError, "eps"),
            ({"eps": True}, InputRangeError, "eps"),
            ({"eps": "0.5"}, InputRangeError, "eps"),
            ({"eps": torch.tensor(0.5)}, InputRangeError, "eps"),
            ({"step_size": 0.0}, InputRangeError, "step_size"),
            ({"step_size": float("nan")}, InputRangeError, "step_size"),
            ({"steps": 0}, InputRangeError, "steps"),
            ({"steps": 2.0}, InputRangeError, "steps"),
            ({"steps": True}, InputRangeError, "steps"),
            ({"bounds": (1, 0)}, InputRangeError, "bounds"),
            ({"bounds": (0, float("nan"))}, InputRangeError, "bounds"),
            ({"bounds": (0, float("inf"))}, InputRangeError, "bounds"),
            ({"bounds": (0, 1, 2)}, InputRangeError, "bounds"),
            ({"bounds": 1}, InputRangeError, "bounds"),
            ({"bounds": ("0", "1")}, InputRangeError, "bounds"),
            ({"precision": torch.float32}, InputTypeError, "precision"),
            ({"precision": "bfloat16"}, InputTypeError, "precision"),
        ],
    )
    def test_settings(self, change, error, message):
        with pytest.raises(error, match=message):
            pgd_l2(NET, *make_batch(), **{**HOW, **change})

    def test_images_outside_bounds_show_the_range_seen(self):
        images, targets = make_batch()
        with pytest.raises(InputRangeError, match=r"must lie in \(0\.0, 1\.0\), but lie in \(0, 255\)"):
            pgd_l2(NET, images * 255, targets, **HOW)
        with pytest.raises(InputRangeError, match=r"\(-0\.5, 0\.5\)"):
            pgd_l2(NET, images - 0.5, targets, **HOW)
        images[2, 1, 0, 0] = torch.nan
        with pytest.raises(InputRangeError, match="nan"):
            pgd_l2(NET, images, targets, **HOW)
        images[2, 1, 0, 0] = torch.inf
        with pytest.raises(InputRangeError, match="inf"):
            pgd_l2(NET, images, targets, **HOW)

    @pytest.mark.parametrize("bounds", [(-0.7, 0.7), (0.1, 0.3), (-2.1179039, 2.64)])
    def test_pixels_on_bounds_that_float32_cannot_hold(self, bounds):
        images = torch.tensor(bounds, dtype=torch.float32)[torch.arange(2 * 72) % 2].reshape(2, *SIZE)
        found = pgd_l2(make_net(torch.float32), images, torch.tensor([0, 1]), bounds=bounds, **HOW)
        assert float(found.images.min()) == float(images.min())

    @pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool, torch.float16, torch.bfloat16])
    def test_images_of_another_dtype(self, dtype):
        with pytest.raises(InputTypeError, match="must be float32 or float64"):
            pgd_l2(NET, torch.zeros(2, *SIZE, dtype=dtype), torch.tensor([0, 1]), **HOW)

    @pytest.mark.parametrize(
        ("targets", "error", "message"),
        [
            (torch.tensor([0, 1, 2, 3, CLASSES]), ModelError, "has 4 classes, but a target lies outside"),
            (torch.tensor([0, 1, 2, 3, -1]), InputRangeError, "negative"),
            (torch.tensor([0, 1, 2, 3]), InputShapeError, r"\[4\]"),
            (torch.zeros(5, 1, dtype=torch.int64), InputShapeError, r"\[5, 1\]"),
            (torch.zeros(5), InputTypeError, "int64"),
            (torch.zeros(5, dtype=torch.int32), InputTypeError, "int64"),
            (torch.zeros(5, dtype=torch.int64, device="meta"), InputShapeError, "on meta"),
        ],
    )
    def test_targets(self, targets, error, message):
        with pytest.raises(error, match=message):
            pgd_l2(NET, make_batch()[0], targets, **HOW)

    def test_images_without_a_batch(self):
        with pytest.raises(InputShapeError):
            pgd_l2(NET, torch.rand(7), torch.zeros(7, dtype=torch.int64), **HOW)

    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            (lambda x: x, r"scores \[5, classes\], not \[5, 2, 6, 6\]"),
            (lambda x: NET(x)[:, 0], r"not \[5\]"),
            (lambda x: NET(x)[:3], r"not \[3, 4\]"),
            (lambda x: (NET(x), None), "not a tuple"),
            (lambda x: {"out": NET(x)}, "not a dict"),
            (lambda x: NET(x)[:, :2], "has 2 classes, but a target lies outside"),
            (lambda x: NET(x) * torch.nan, "NaN or infinite"),
            (lambda x: NET(x) + torch.tensor([[0, 0, torch.inf, 0]]), "NaN or infinite"),
            (lambda x: NET(x) + torch.tensor([[1.0, 0, 0, 0], *[[0] * 4] * 4]).log(), "NaN or infinite"),
            (lambda x: NET(x) + (x - x).sqrt().sum((1, 2, 3))[:, None], "gradients"),
            (lambda x: NET((x + (x - x).sqrt()).nan_to_num(0.5)), "gradients"),
            (lambda x: NET(x).detach(), "no gradient"),
            (torch.no_grad()(lambda x: NET(x)), "no gradient"),
            (lambda x: NET(x).argmax(1, keepdim=True).expand(-1, 4), "no gradient"),
            (lambda x: torch.zeros(5, 4), "no gradient"),
        ],
    )
    @pytest.mark.parametrize("keep_best", [True, False])
    def test_invalid_model_outputs(self, answer, message, keep_best):
        with pytest.raises(ModelError, match=message):
            pgd_l2(Function(answer), *make_batch(), keep_best=keep_best, **HOW)

    def test_late_nan_is_detected(self):
        """NaN in the last forward pass, or in one in the middle that later ones do not repeat."""
        for at in range(1, 8):
            calls = []

            def answer(x, at=at, calls=calls):
                calls.append(1)
                return NET(x) * (torch.nan if len(calls) == at else 1)

            with pytest.raises(ModelError, match="NaN"):
                pgd_l2(Function(answer), *make_batch(), **HOW)

    def test_minus_infinity_for_other_classes_is_no_error(self):
        masked = Function(lambda x: NET(x) + torch.tensor([[0, 0, -torch.inf, 0]]))
        images, _ = make_batch()
        assert bool(pgd_l2(masked, images, torch.tensor([0, 1, 3, 0, 1]), **HOW).losses.isfinite().all())

    def test_batch_norm_without_statistics(self):
        net = nn.Sequential(nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6, track_running_stats=False), nn.Flatten())
        with pytest.raises(ModelError, match="the model normalises over the batch .* 1 keeps no running"):
            pgd_l2(net, torch.rand(2, *SIZE), torch.tensor([0, 1]), **HOW)
        assert net.training

    def test_functions_are_not_modules(self):
        with pytest.raises(InputTypeError, match=r"nn\.Module, got function"):
            pgd_l2(lambda x: x, *make_batch(), **HOW)

    def test_empty_batch(self):
        images, targets = torch.zeros(0, *SIZE), torch.zeros(0, dtype=torch.int64)
        found = pgd_l2(NET, images, targets, **HOW)
        assert found.images.shape == (0, *SIZE)
        assert found.distances.shape == found.losses.shape == (0,)
        assert found.max_distance == found.mean_distance == 0

    def test_summary_distances_of_a_result(self):
        images, targets = make_batch()
        found = pgd_l2(NET, images, targets, **HOW)
        assert found.max_distance == float(distances(found.images, images).max())
        assert found.mean_distance == pytest.approx(float(distances(found.images, images).mean()))


class TestOtherTypes:
    @pytest.mark.parametrize("targets", [np.array([1, 2]), [1, 2]])
    def test_targets_are_a_tensor(self, targets):
        images, _ = make_batch(2)
        with pytest.raises(InputTypeError, match=r"targets must be a torch.Tensor, got (numpy.ndarray|list); torch\."):
            pgd_l2(NET, images, targets, **HOW)

    def test_images_are_a_tensor(self):
        images, targets = make_batch(2)
        with pytest.raises(InputTypeError, match=r"images must be a torch.Tensor, got numpy.ndarray; torch.from_numpy"):
            pgd_l2(NET, images.numpy(), targets, **HOW)

    @pytest.mark.parametrize(
        ("weights", "images"),
        [(torch.float32, torch.float64), (torch.float64, torch.float32), (torch.float16, torch.float32)],
    )
    def test_dtypes_that_do_not_fit(self, weights, images):
        plain, targets = make_batch(2, images)
        net = make_net().to(weights)
        with pytest.raises(
            ModelError, match=rf"fails on {images} images, perhaps because its weights are {weights}: give"
        ):
            pgd_l2(net, plain, targets, **HOW)

    def test_other_errors_of_a_model_are_its_own(self):
        def fail(_):
            raise RuntimeError("of the model")

        images, targets = make_batch(2)
        with pytest.raises(RuntimeError, match="^of the model$"):
            pgd_l2(Function(fail), images, targets, **HOW)

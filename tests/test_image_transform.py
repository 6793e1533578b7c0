from __future__ import annotations

import pytest
import torch
from torch import nn

from nst_helpers.errors import NstError
from nst_helpers.image_transform import ConditionalNorm, ImageTransform, ResidualBlock


def _network(styles: int = 2, seed: int = 0) -> ImageTransform:
    """Return a small network whose styles differ."""
    generator = torch.Generator().manual_seed(seed)
    network = ImageTransform(styles, (4, 6, 8)).eval()
    for name, parameter in network.named_parameters():
        if name.endswith(("scale", "shift")):
            parameter.data += 0.5 * torch.randn(parameter.shape, generator=generator)
    return network


def _pictures(count: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def test_it_has_three_convolutions_five_residual_blocks_and_two_upsamplings():
    network = ImageTransform(channels=(32, 64, 128))
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    sizes = [(m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0]) for m in convolutions]
    down = [(3, 32, 9, 1), (32, 64, 3, 2), (64, 128, 3, 2)]
    up = [(128, 64, 3, 1), (64, 32, 3, 1), (32, 3, 3, 1)]
    noise = [(18, 128, 1, 1)]
    assert sizes == down + noise + [(128, 128, 3, 1)] * 10 + up
    assert not any(isinstance(m, nn.ConvTranspose2d) for m in network.modules())


@pytest.mark.parametrize("size", [(16, 16), (33, 50), (47, 18)])
def test_the_picture_keeps_its_size_and_range(size):
    painted = _network()(_pictures(2, *size), torch.eye(2))
    assert painted.shape == (2, 3, *size)
    assert 0 <= painted.min() < painted.max() <= 1


def test_a_style_is_a_scale_and_a_shift_of_maps_without_mean_and_deviation():
    norm = ConditionalNorm(2, 3)
    norm.scale.data = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    norm.shift.data = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    maps = 7 + 3 * torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(2))
    out = norm(maps, torch.eye(2))
    for picture in range(2):
        for channel in range(3):
            x = maps[picture, channel].double()
            normal = (x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt()
            wanted = norm.scale[picture, channel] * normal + norm.shift[picture, channel]
            torch.testing.assert_close(out[picture, channel].double(), wanted, atol=1e-5, rtol=1e-5)


def test_each_picture_of_a_batch_is_painted_in_its_own_style():
    network, pictures = _network(), _pictures(2, 24, 24)
    together = network(pictures, torch.eye(2))
    for number in range(2):
        alone = network(pictures[number : number + 1], torch.eye(2)[number : number + 1])
        torch.testing.assert_close(together[number : number + 1], alone, atol=1e-5, rtol=1e-5)
    other = network(pictures, torch.eye(2).flip(0))
    assert (together - other).abs().mean() > 0.01


def test_a_blend_lies_between_its_styles():
    norm = ConditionalNorm(2, 1)
    norm.scale.data, norm.shift.data = torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [8.0]])
    maps = _pictures(1, 8, 8)[:, :1]
    first, second, blend = (
        norm(maps, torch.tensor([shares])) for shares in ([1.0, 0.0], [0.0, 1.0], [0.25, 0.75])
    )
    torch.testing.assert_close(blend, 0.25 * first + 0.75 * second)


def test_a_block_adds_to_what_went_in():
    block, maps = ResidualBlock(1, 4), _pictures(1, 9, 8).expand(1, 3, 9, 8)
    maps = torch.cat([maps, maps[:, :1]], dim=1)
    block.second.norm.scale.data.zero_()
    torch.testing.assert_close(block(maps, torch.ones(1, 1)), maps)
    block.second.norm.scale.data.fill_(2)
    torch.testing.assert_close(
        (block(maps, torch.ones(1, 1)) - maps).std(), torch.tensor(2.0), rtol=0.05, atol=0
    )


def test_a_network_begins_with_the_photograph():
    torch.manual_seed(0)
    photograph = nn.functional.interpolate(_pictures(1, 8, 8), (64, 64), mode="bilinear")
    painted = ImageTransform(channels=(4, 6, 8))(photograph, torch.ones(1, 1))
    both = torch.stack([painted.flatten(), photograph.flatten()])
    assert torch.corrcoef(both)[0, 1] > 0.9


def test_the_photograph_is_normalised_too():
    """So a network paints a pale photograph as it paints the vivid one."""
    network, vivid = _network(), _pictures(1, 32, 32)
    paintings = [network(x, torch.eye(2)[:1]) for x in (vivid, 0.4 + 0.25 * (vivid - 0.5))]
    torch.testing.assert_close(*paintings, atol=0.02, rtol=0)


def test_an_even_sky_is_not_painted_evenly():
    painted = _network()(torch.full((1, 3, 32, 48), 0.7), torch.eye(2)[:1])
    assert painted.std((2, 3)).min() > 0.01


def test_the_noise_is_the_same_for_a_seed_and_leaves_chance_alone():
    network, even = _network(), torch.full((2, 3, 30, 50), 0.7)
    state = torch.get_rng_state()
    first, again, other = (network(even, torch.eye(2), seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert (first - other).abs().mean() > 0.01


def test_the_border_is_no_frame():
    """With padding by zeros, the border of an even picture would become something else."""
    network = _network()
    network.noise.weight.data.zero_()
    painted = network(torch.full((1, 3, 32, 32), 0.7), torch.eye(2)[:1])
    torch.testing.assert_close(painted, painted[..., 16:17, 16:17].expand_as(painted))


@pytest.mark.parametrize(
    "wrong", [{"styles": 0}, {"channels": (1, 2)}, {"channels": (1, 2, 0.5)}, {"blocks": True}]
)
def test_sizes_that_are_none_are_refused(wrong):
    with pytest.raises(NstError, match=next(iter(wrong))):
        ImageTransform(**wrong)

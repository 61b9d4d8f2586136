"""Networks of dense layers: a classifier, and an auto-encoder with a head that classifies by the code."""

from collections.abc import Sequence

from torch import Tensor, nn

from unshaken.networks.layers import Shape, dense_layers
from unshaken.types import Count, Supplied
from unshaken.validate import check_each, check_range


def mlp(shape: Supplied[Shape], classes: Supplied[int], *, widths: Sequence[Count] = (128, 128)) -> nn.Sequential:
    """Dense layers with ReLU between them: C·H·W → widths → classes."""
    check_each("every width", widths, Count)
    sizes = [shape[0] * shape[1] * shape[2], *widths]
    return nn.Sequential(nn.Flatten(), *dense_layers(sizes), nn.Linear(sizes[-1], classes))


class VAE(nn.Module):
    """A variational auto-encoder as a classifier: `forward` is a linear head at the mean of the latent.

    trunk and then `mean` and `log_variance` (B, L) are the encoder, whose q(z|x) is N(mean, exp(log_variance)); the
    decoder gives the Bernoulli logits of the pixels. `encode` and `decode` are all that `StochasticClassifier.latents`
    and `reconstructions` ask of a network, so another one with these two methods will do as well.
    """

    def __init__(self, trunk: nn.Module, mean: nn.Module, log_variance: nn.Module, decoder: nn.Module, head: nn.Module):
        super().__init__()
        self.trunk, self.mean, self.log_variance = trunk, mean, log_variance
        self.decoder, self.head = decoder, head

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latent, (B, L) each."""
        hidden = self.trunk(x)
        return self.mean(hidden), self.log_variance(hidden)

    def decode(self, z: Tensor) -> Tensor:
        """Logits (B, C, H, W) of the pixels for latents (B, L)."""
        return self.decoder(z)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mean(self.trunk(x)))


def vae(shape: Supplied[Shape], classes: Supplied[int], *, latent: Count = 16, widths: Sequence[Count] = (400,)) -> VAE:
    """Variational auto-encoder: dense ReLU layers to a Gaussian latent and back, and a linear head on its mean.

    C·H·W → widths → mean and log-variance of `latent` numbers; latent → widths in reverse → C·H·W logits of pixels.
    Source: Kingma & Welling, "Auto-encoding variational Bayes" (2014), appendix C, with one hidden layer; they have
    tanh in it, 500 units for MNIST and no head. The head on the mean is that of their semi-supervised model M1
    (Kingma et al., 2014), but learnt together with the rest.
    """
    check_range("latent", latent, Count)
    check_each("every width", widths, Count)
    pixels = shape[0] * shape[1] * shape[2]
    down, up = [pixels, *widths], [latent, *reversed(widths)]
    return VAE(
        nn.Sequential(nn.Flatten(), *dense_layers(down)),
        nn.Linear(down[-1], latent),
        nn.Linear(down[-1], latent),
        nn.Sequential(*dense_layers(up), nn.Linear(up[-1], pixels), nn.Unflatten(1, shape)),
        nn.Linear(latent, classes),
    )

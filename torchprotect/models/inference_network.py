"""The local inference network of one way scrambling."""

from torch import Tensor, nn


class InferenceNetwork(nn.Module):
    """Classify an image from its embedding and a cloud classifier's vector for the scrambled image: one hidden layer.

    Args:
        features: total length of embeddings and cloud vectors.
        classes: number of classes.
        hidden: width of the hidden layer.
        dropout: probability of dropping a hidden unit in training.

    Shape: float ``[N, features]`` to scores ``[N, classes]``.

    References:
        Savransky et al., One Way Scrambling by Deconvolution, section 3. The paper gives neither width nor dropout.
    """

    def __init__(self, features: int, classes: int, *, hidden: int = 512, dropout: float = 0.5) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(features),
            nn.Linear(features, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, classes),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return the scores of all classes."""
        scores: Tensor = self.layers(features)
        return scores

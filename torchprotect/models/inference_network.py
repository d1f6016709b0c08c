"""The internal inference network of one way scrambling."""

from torch import Tensor, nn


class InferenceNetwork(nn.Module):
    """One hidden layer that reads an embedding and what a cloud classifier said of the scrambled image.

    Args:
        features: length of embeddings and cloud vectors, side by side.
        classes: number of classes.
        hidden: width of the hidden layer.
        dropout: share of it that is left out in training.

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
        """Return the scores of each class."""
        scores: Tensor = self.layers(features)
        return scores

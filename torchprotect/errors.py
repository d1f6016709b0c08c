"""Every error this package raises on purpose, and its warnings.

Each error is a :class:`ProtectError` and also the built-in error a caller would expect. Messages name what came, what
was expected and what to do; they never hold key material, pixels or seeds.
"""


class ProtectError(Exception):
    """Base of every error raised on purpose by torchprotect."""


class InputTypeError(ProtectError, TypeError):
    """An image, sample or argument has a type or dtype that the operation does not take."""


class InputShapeError(ProtectError, ValueError):
    """A tensor has a shape, dtype or device that does not match the others."""


class InputRangeError(ProtectError, ValueError):
    """Pixel values, or a numeric argument, lie outside the range that the operation takes."""


class BlockSizeError(ProtectError, ValueError):
    """A block size does not divide the image or does not fit the cipher's unit."""


class KeySizeError(ProtectError, ValueError):
    """A key was made for another image size, block size or number of channels."""


class KeyKindError(ProtectError, TypeError):
    """A key of one kind was given where another kind is needed, or a file holds an unknown kind."""


class KeyFileError(ProtectError, ValueError):
    """A file is not a torchprotect key file, or it is truncated or malformed."""


class KeyVersionError(KeyFileError):
    """A key file was written in a format version this package does not read."""


class KeyIntegrityError(KeyFileError):
    """A key file's content does not match its fingerprint: a byte was changed."""


class PassphraseError(ProtectError, ValueError):
    """A passphrase is missing, not needed, or does not open the file."""


class LabelError(ProtectError, ValueError):
    """A label is missing or lies outside the label map."""


class ModelError(ProtectError, RuntimeError):
    """A network cannot be used for the operation, or returns something other than it needs."""


class ModelFileError(ModelError):
    """A file is not a torchprotect model file, of a newer version, truncated or damaged."""


class NotInvertibleError(ProtectError, RuntimeError):
    """The transform, with these settings, has no inverse."""


class SourceError(ProtectError, OSError):
    """A source of images cannot be opened, or one of its images cannot be read."""


class ExportError(ProtectError, RuntimeError):
    """An export cannot start, continue or be read."""


class StoreError(ExportError, OSError):
    """A folder or bucket cannot be reached, listed, read or written, or its URL is refused."""


class EnvelopeError(ExportError):
    """A sealed export cannot be opened, or cannot be sealed as asked: by these identities, recipients or packages."""


class VerificationError(ProtectError, RuntimeError):
    """An export does not match its manifest."""


class CloudError(ProtectError, RuntimeError):
    """A cloud service cannot be reached, refuses, or answers with something other than vectors.

    Attributes:
        again: whether another attempt may help.
    """

    def __init__(self, message: str, *, again: bool = False) -> None:
        super().__init__(message)
        self.again = again


class LedgerError(ProtectError, RuntimeError):
    """A key's ledger of use is exhausted, locked or damaged: nothing was sent."""


class KeyPickledWarning(UserWarning):
    """A key is being pickled, including its secrets, for something other than starting a worker process."""


class LabelsLeftPlainWarning(UserWarning):
    """A data set's pictures are disguised with a bundle that has a label map, but its labels are not renamed."""


class PixelScaleWarning(UserWarning):
    """A disguise got 8-bit pixels and returns floating point on their scale, 0..255, not 0..1."""


class KeyInWeightsWarning(UserWarning):
    """The weights of a network contain a key: whoever has them and the original network can read it off."""

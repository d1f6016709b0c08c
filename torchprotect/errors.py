"""All errors and warnings that this package raises on purpose.

Each error is a :class:`ProtectError`, and also the built-in error that a caller would expect (``ValueError``,
``TypeError``, ``RuntimeError`` or ``OSError``). A message names what was given, what was expected and what to do. It
never holds key material, pixels or seeds.
"""


class ProtectError(Exception):
    """Base class of all errors that torchprotect raises on purpose."""


class InputTypeError(ProtectError, TypeError):
    """The type or dtype of an image, sample or argument is not supported by the operation."""


class InputShapeError(ProtectError, ValueError):
    """The shape, dtype or device of a tensor does not match the other tensors."""


class InputRangeError(ProtectError, ValueError):
    """A pixel value or a numeric argument lies outside the allowed range."""


class BlockSizeError(ProtectError, ValueError):
    """The block size does not divide the image, or does not fit the cipher's unit."""


class KeySizeError(ProtectError, ValueError):
    """The key was made for another image size, block size or number of channels."""


class KeyKindError(ProtectError, TypeError):
    """Another key is needed, of this kind or of another one; or a file holds an unknown kind of key."""


class KeyFileError(ProtectError, ValueError):
    """The file is not a torchprotect key file, or it is truncated or malformed."""


class KeyVersionError(KeyFileError):
    """The key file has a format version that this package does not read."""


class KeyIntegrityError(KeyFileError):
    """The content of the key file does not match its fingerprint: a byte was changed."""


class PassphraseError(ProtectError, ValueError):
    """The passphrase is missing, superfluous or wrong."""


class LabelError(ProtectError, ValueError):
    """A label is missing or lies outside the label map."""


class ModelError(ProtectError, RuntimeError):
    """A model cannot be used for the operation, or does not return what the operation needs."""


class ModelFileError(ModelError):
    """The file is not a torchprotect model file, has a newer format version, or is truncated or damaged."""


class NotInvertibleError(ProtectError, RuntimeError):
    """The transform has no inverse with these settings."""


class SourceError(ProtectError, OSError):
    """The source cannot be opened, or one of its images cannot be read."""


class ExportError(ProtectError, RuntimeError):
    """The export cannot start, continue or be read."""


class StoreError(ExportError, OSError):
    """A folder or bucket cannot be reached, listed, read or written, or its URL is refused."""


class EnvelopeError(ExportError):
    """A sealed export cannot be opened, or an export cannot be sealed as requested.

    The identity, the recipients or a missing optional package may be the cause; the message names it.
    """


class VerificationError(ProtectError, RuntimeError):
    """The export does not match its manifest."""


class CloudError(ProtectError, RuntimeError):
    """A cloud service cannot be reached, refuses the request, or does not answer with vectors.

    Attributes:
        again: whether a retry may succeed.
    """

    def __init__(self, message: str, *, again: bool = False) -> None:
        super().__init__(message)
        self.again = again


class LedgerError(ProtectError, RuntimeError):
    """The ledger of a key's use is exhausted, locked or damaged; nothing was sent."""


class KeyPickledWarning(UserWarning):
    """A key, including its secrets, is being pickled for a purpose other than starting a worker process."""


class LabelsLeftPlainWarning(UserWarning):
    """The pictures of a data set are disguised with a bundle that has a label map, but the labels are not renamed."""


class PixelScaleWarning(UserWarning):
    """A disguise received 8-bit pixels and returns floating point on their scale, 0..255 rather than 0..1."""


class KeyInWeightsWarning(UserWarning):
    """The weights of a network contain a key: whoever has them and the original network can read the key from them."""

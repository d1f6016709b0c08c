"""Texts that appear on every report."""

STATEMENT = (
    "torchprotect implements published obfuscation schemes for research and for raising the cost of "
    "casual misuse. None of them provides confidentiality in the cryptographic sense. Block permutation, "
    "AES-ECB disguising, RMT and OWSD are deterministic per-key transforms that preserve structure a "
    'model can learn from, and whatever a model can learn from, an attacker can learn from too. "AES" in '
    "AESECBDisguise describes the building block, not the security level: ECB reveals which units are "
    "equal, in one image and across the data set. AdversarialEncrypt hides nothing; it only tries to make "
    "naive training fail, and compression, early stopping or adversarial training usually undo it. Do not "
    "use these transforms to meet a legal or contractual duty to encrypt, anonymise or pseudonymise data. "
    "For storage and transport use encryption: the envelope of this package, which seals the files of an "
    "export, or a standard tool, such as age or GnuPG; for computing on secrets use FHE, MPC, TEEs; for "
    "release of statistics use differential privacy."
)

MEANING = (
    "Leakage places a result on a scale from chance, which is reached without seeing the disguised images "
    "(0 %), to the result on plain images (100 %). It is a lower bound: an attack that is not in "
    "this list, or one with more data or time, may find more. Low figures prove nothing."
)

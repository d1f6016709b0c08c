"""Attacks on images perturbed against training, after "Adversarial Data Encryption" (Hu et al., 2020)."""

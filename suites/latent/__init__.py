"""What the `elbo` suite measures of latent-variable models, a part in each file."""

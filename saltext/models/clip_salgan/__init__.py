"""CLIP-SalGAN: generators that read an image and a text, and the discriminator they are trained against."""

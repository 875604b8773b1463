"""TranBlend: TranSalNet with a text blended in at its middle layer."""

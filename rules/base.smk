# What rules have in common, said once: `use rule runs_model as ...`.  What a rule runs is a function of the library,
# named by `runs(...)` in its params.
rule runs_model:
    log:
        "<logs>/runs_model.log",
    conda:
        "../envs/torch.yaml"
    resources:
        **gpu_resources(),
    params:
        compute=compute,
    script:
        "../workflow/scripts/run.py"


# Reads tables or files: no model, no torch, and no job of the cluster (see the Snakefile).
rule reads_tables:
    log:
        "<logs>/reads_tables.log",
    conda:
        "../envs/analysis.yaml"
    script:
        "../workflow/scripts/run.py"


use rule reads_tables as draws_figures with:
    log:
        "<logs>/draws_figures.log",
    threads: 2


# Makes a model ready; no GPU, but the libraries of models.
use rule reads_tables as makes_model with:
    log:
        "<logs>/makes_model.log",
    conda:
        "../envs/torch.yaml"

//! Prints the `EnvoyFilter` that removes reserved headers: `companion [--namespace NAME] [--label KEY=VALUE]
//! [--gateway] FILE...`.

use anyhow::{Context, Result, bail, ensure};
use portcullis_tests::companion::{Target, manifest};

fn main() -> Result<()> {
    let mut target = Target::default();
    let mut texts = Vec::new();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--gateway" => target.gateway = true,
            "--namespace" => {
                target.namespace = Some(words.next().context("--namespace needs a name")?);
            }
            "--label" => {
                let label = words.next().unwrap_or_default();
                let (key, value) = label.split_once('=').context("--label needs KEY=VALUE")?;
                target.labels.insert(key.to_owned(), value.to_owned());
            }
            flag if flag.starts_with('-') => bail!("unknown argument {flag}"),
            file => texts.push(std::fs::read_to_string(file).context(word)?),
        }
    }
    ensure!(!texts.is_empty(), "name the files of the policies");
    print!("{}", manifest(&texts.join("\n---\n"), &target)?);
    Ok(())
}

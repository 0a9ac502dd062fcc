//! What one request costs at worst: `costs [WORDS]`. Measures the rows whose names hold the words, all without any,
//! and writes the table of all to `docs/costs.md`.

use anyhow::{Context, Result};
use portcullis_tests::costs::run;

fn main() -> Result<()> {
    let word = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let mut table = String::new();
    run(&word, |line| {
        println!("{line}");
        table += line;
        table.push('\n');
    })?;
    if word.is_empty() {
        let path = portcullis_tests::root().join("docs/costs.md");
        std::fs::write(&path, table).with_context(|| path.display().to_string())?;
        println!("\nwrote {}", path.display());
    }
    Ok(())
}

//! The sizes of what is shipped, against their budgets.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::root;
use crate::wasm::{filter, generated};

/// One line of the table; sizes are in bytes.
#[derive(Debug)]
struct Line {
    what: &'static str,
    actual: usize,
    budget: usize,
}

/// Prints the table.
///
/// # Errors
/// Something is over its budget, or was not built.
pub(crate) fn run() -> Result<()> {
    let scripts = scripts(&root().join("www/dist"))?;
    let lines = [
        Line {
            what: "filter, raw",
            actual: raw(&filter())?,
            budget: 900_000,
        },
        Line {
            what: "engine, gzip",
            actual: gzip(&generated().join("engine/portcullis_playground_bg.wasm"))?,
            budget: 285_000,
        },
        Line {
            what: "page scripts, gzip",
            actual: scripts
                .iter()
                .map(|script| gzip(script))
                .sum::<Result<usize>>()?,
            budget: 155_000,
        },
    ];
    print!("{}", table(&lines));
    let over: Vec<_> = lines
        .iter()
        .filter(|line| line.actual > line.budget)
        .map(|line| line.what)
        .collect();
    ensure!(over.is_empty(), "over budget: {}", over.join(", "));
    Ok(())
}

/// The scripts that a visitor loads: all but the minter, which loads when it is first used, and the
/// tests' driver.
fn scripts(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| unbuilt(folder))? {
        let path = entry.with_context(|| unbuilt(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            found.extend(scripts(&path)?);
        } else if name.ends_with(".js") && !name.contains("mint") && !name.contains("driver") {
            found.push(path);
        }
    }
    Ok(found)
}

fn raw(path: &Path) -> Result<usize> {
    Ok(std::fs::read(path).with_context(|| unbuilt(path))?.len())
}

fn gzip(path: &Path) -> Result<usize> {
    let bytes = std::fs::read(path).with_context(|| unbuilt(path))?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder
        .write_all(&bytes)
        .and_then(|()| encoder.finish())
        .map(|bytes| bytes.len())
        .context("cannot compress")
}

fn unbuilt(path: &Path) -> String {
    format!(
        "cannot read {}; `cargo xtask wasm` builds it",
        path.display()
    )
}

fn table(lines: &[Line]) -> String {
    let kilobytes = |bytes: usize| format!("{}.{} KB", bytes / 1000, bytes % 1000 / 100);
    let rows = lines.iter().map(|line| {
        let used = format!("{}%", (line.actual * 100).div_ceil(line.budget));
        let mark = if line.actual > line.budget {
            "  over"
        } else {
            ""
        };
        let (actual, budget) = (kilobytes(line.actual), kilobytes(line.budget));
        format!(
            "  {:<20} {actual:>10} {budget:>10} {used:>6}{mark}\n",
            line.what
        )
    });
    let heading = format!(
        "  {:<20} {:>10} {:>10} {:>6}\n",
        "", "actual", "budget", "used"
    );
    std::iter::once(heading).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_over_shows_in_the_table() {
        let line = |actual| Line {
            what: "filter, raw",
            actual,
            budget: 700_000,
        };
        let table = table(&[line(699_950), line(700_001)]);
        let lines: Vec<_> = table.lines().skip(1).collect();
        assert_eq!(
            lines[0],
            "  filter, raw            699.9 KB   700.0 KB   100%"
        );
        assert_eq!(
            lines[1],
            "  filter, raw            700.0 KB   700.0 KB   101%  over"
        );
    }
}

//! The command line.

/// What `cargo xtask` prints when it is asked or misunderstood.
pub(crate) const USAGE: &str = "\
usage: cargo xtask <command>

  setup      install what the build and the tests need: Wasm targets, Envoy, npm packages, Chromium, OpenSSL
  wasm       build the filter, the page's modules and the page
  budgets    compare the sizes of what was built with their budgets
  test       all of it, and every test; ends with the count
  demo       show Portcullis in a real Envoy
             [--example NAME] [--once] [--slow] [--port N]
  fuzz-decisions  compare random decisions of the core and the filter with those of Envoy's own filters
             [--cases N] [--seed S]
  companion  print the EnvoyFilter that removes reserved headers of policies before any filter sees them
             [--namespace NAME] [--label KEY=VALUE] [--gateway] FILE...
  soak       compare the answers of a real Envoy under load with the core's, while policies and keys change
             [--requests N] [--minutes M] [--workers W] [--seed S]
  costs      measure what single requests cost at worst, and write docs/costs.md
             [WORDS of the rows to measure, without writing]
  versions   run the filter in every Envoy that PyPI has, and print what works in which";

/// A parsed command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Setup,
    Wasm,
    Budgets,
    Test,
    Demo(Demo),
    /// Flags of the program that does it, which that one interprets.
    FuzzDecisions(Vec<String>),
    /// As above.
    Companion(Vec<String>),
    /// The same.
    Soak(Vec<String>),
    /// Words of the names of what is measured; none is everything.
    Costs(Vec<String>),
    /// Needs no words.
    Versions,
}

/// Flags of the demo, which the demo itself interprets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Demo {
    pub(crate) example: Option<String>,
    pub(crate) once: bool,
    pub(crate) slow: bool,
    /// `None`: a free one.
    pub(crate) port: Option<u16>,
}

impl Demo {
    /// The flags as words of a command line.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(example) = &self.example {
            words.extend(["--example".to_owned(), example.clone()]);
        }
        words.extend(self.once.then(|| "--once".to_owned()));
        words.extend(self.slow.then(|| "--slow".to_owned()));
        if let Some(port) = self.port {
            words.extend(["--port".to_owned(), port.to_string()]);
        }
        words
    }
}

/// Reads the words after `cargo xtask`; the error is one line for the user.
pub(crate) fn parse(words: &[String]) -> Result<Command, String> {
    let Some((name, rest)) = words.split_first() else {
        return Ok(Command::Help);
    };
    let command = match name.as_str() {
        "help" | "--help" | "-h" => Command::Help,
        "setup" => Command::Setup,
        "wasm" => Command::Wasm,
        "budgets" => Command::Budgets,
        "test" => Command::Test,
        "demo" => return demo(rest).map(Command::Demo),
        "companion" if rest.is_empty() => return Err("`companion` needs a file".into()),
        "companion" => return Ok(Command::Companion(rest.to_vec())),
        "fuzz-decisions" => {
            let flags = numbers(name, &["--cases", "--seed"], rest);
            return flags.map(Command::FuzzDecisions);
        }
        "soak" => {
            let flags = ["--requests", "--minutes", "--workers", "--seed"];
            return numbers(name, &flags, rest).map(Command::Soak);
        }
        "costs" => return Ok(Command::Costs(rest.to_vec())),
        "versions" => Command::Versions,
        _ => return Err(format!("there is no command `{name}`")),
    };
    match rest.first() {
        None => Ok(command),
        Some(word) => Err(format!("`{name}` takes no `{word}`")),
    }
}

fn demo(words: &[String]) -> Result<Demo, String> {
    let mut demo = Demo::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--once" => demo.once = true,
            "--slow" => demo.slow = true,
            "--example" => {
                let name = words.next().filter(|name| !name.starts_with('-'));
                demo.example = Some(name.ok_or("`--example` needs a name")?.clone());
            }
            "--port" => {
                let number = words.next().and_then(|number| number.parse().ok());
                demo.port = Some(number.ok_or("`--port` needs a number up to 65535")?);
            }
            _ => return Err(format!("`demo` takes no `{word}`")),
        }
    }
    Ok(demo)
}

/// The words of a command whose flags all take a number.
fn numbers(command: &str, flags: &[&str], words: &[String]) -> Result<Vec<String>, String> {
    for pair in words.chunks(2) {
        let Some(flag) = pair.first() else { continue };
        if !flags.contains(&flag.as_str()) {
            return Err(format!("`{command}` takes no `{flag}`"));
        }
        let number = pair.get(1).and_then(|word| word.parse::<u64>().ok());
        number.ok_or_else(|| format!("`{flag}` needs a number"))?;
    }
    Ok(words.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    #[track_caller]
    fn check(line: &str, expected: Command) {
        assert_eq!(parsed(line), Ok(expected));
    }

    #[track_caller]
    fn check_refused(line: &str, message: &str) {
        assert_eq!(parsed(line), Err(message.to_owned()));
    }

    #[test]
    fn a_command_is_one_word() {
        check("", Command::Help);
        check("--help", Command::Help);
        check("setup", Command::Setup);
        check("wasm", Command::Wasm);
        check("budgets", Command::Budgets);
        check("test", Command::Test);
        check("versions", Command::Versions);
        check_refused("tests", "there is no command `tests`");
        check_refused("test --fast", "`test` takes no `--fast`");
    }

    #[test]
    fn the_demo_takes_flags_and_hands_them_on() {
        check("demo", Command::Demo(Demo::default()));
        let line = "demo --example jwt --once --slow --port 8080";
        let Ok(Command::Demo(demo)) = parsed(line) else {
            panic!("{line}")
        };
        assert_eq!(
            demo,
            Demo {
                example: Some("jwt".to_owned()),
                once: true,
                slow: true,
                port: Some(8080)
            }
        );
        assert_eq!(
            demo.words().join(" "),
            "--example jwt --once --slow --port 8080"
        );
        check_refused("demo --example", "`--example` needs a name");
        check_refused("demo --example --once", "`--example` needs a name");
        check_refused("demo --port 65536", "`--port` needs a number up to 65535");
        check_refused("demo --fast", "`demo` takes no `--fast`");
    }

    #[test]
    fn the_companion_takes_files() {
        let words = ["--gateway", "a.yaml"].map(str::to_owned);
        check(
            "companion --gateway a.yaml",
            Command::Companion(words.to_vec()),
        );
        check_refused("companion", "`companion` needs a file");
    }

    #[test]
    fn random_decisions_take_a_number_and_a_seed() {
        check("fuzz-decisions", Command::FuzzDecisions(Vec::new()));
        let words = ["--cases", "100", "--seed", "7"].map(str::to_owned);
        check(
            "fuzz-decisions --cases 100 --seed 7",
            Command::FuzzDecisions(words.to_vec()),
        );
        check_refused("fuzz-decisions --seed", "`--seed` needs a number");
        check_refused("fuzz-decisions --seed x", "`--seed` needs a number");
        check_refused(
            "fuzz-decisions --fast",
            "`fuzz-decisions` takes no `--fast`",
        );
    }
    #[test]
    fn a_long_run_takes_its_bounds() {
        let line = "soak --requests 5000000 --minutes 50 --workers 2 --seed 7";
        let words = line.split(' ').skip(1).map(str::to_owned);
        check(line, Command::Soak(words.collect()));
        check("soak", Command::Soak(Vec::new()));
        check_refused("soak --minutes", "`--minutes` needs a number");
        check_refused("soak --cases 5", "`soak` takes no `--cases`");
        check("costs", Command::Costs(Vec::new()));
    }
}

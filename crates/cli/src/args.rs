//! What can be typed: subcommands, options, help texts. Man page and completion come from the same
//! definitions.
//!
//! Nothing here acts. All after the program's file belongs to the program, unread.

use crate::options::{self, Choices, Group};
use clap::{Args, FromArgMatches as _, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::LazyLock;

const EXAMPLES: &str = "\
Examples:
  wardian hello.wasm                         run a program
  wardian python.wasm -c 'print(1)'          all after the file goes to the program
  wardian run --dir . --env HOME tool.wasm   give it a directory and a variable
  wardian run --invoke add math.wat 1 2      call one function and print its results
  wardian compile app.wasm -o app.cwasm      compile now,
  wardian run --allow-precompiled app.cwasm  run later
  wardian explore app.wasm                   see what functions are compiled to
  wardian objdump app.cwasm                  the same of an artifact, as text
  wardian -W help                            list what can be switched

Environment:
  WARDIAN_LOG    what to log on standard error, such as wardian=debug or wardian::cache=debug";

/// Runs, compiles and inspects WebAssembly programs.
#[derive(Parser, Debug)]
#[command(
    name = "wardian",
    version,
    long_version = long_version(),
    override_usage = "wardian [run] [OPTIONS] FILE [ARGUMENT]…\n       wardian COMMAND …",
    after_help = EXAMPLES,
    arg_required_else_help = true,
    subcommand_help_heading = "Commands (`run` if none is named)"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a program.
    Run(RunArgs),
    /// Compile a module ahead of time.
    Compile(CompileArgs),
    /// Run test scripts (`.wast`).
    Wast(WastArgs),
    /// Show what is in a module.
    Inspect(InspectArgs),
    /// Show functions as text, operations and machine code, on a page for a browser.
    Explore(ExploreArgs),
    /// Show the machine code of an artifact or module, as text.
    Objdump(ObjdumpArgs),
    /// Show or clear the cache of compiled code.
    Cache(CacheArgs),
    /// Show every setting and its value.
    Settings(SettingsArgs),
    /// Print a completion script for a shell.
    Completion(CompletionArgs),
    /// Print a manual page.
    #[command(hide = true)]
    Man(ManArgs),
}

/// Options that every command with an engine takes.
#[derive(Args, Debug, Default, Clone)]
pub struct EngineArgs {
    /// Proposals and limits (`-W help` lists them).
    #[arg(short = 'W', long = "wasm", value_name = "KEY[=VALUE][,…]")]
    pub wasm: Vec<String>,

    /// Speed of the code (`-O help`).
    #[arg(short = 'O', long = "optimize", value_name = "KEY[=VALUE][,…]")]
    pub optimize: Vec<String>,

    /// The compiler (`-C help`).
    #[arg(short = 'C', long = "codegen", value_name = "KEY[=VALUE][,…]")]
    pub codegen: Vec<String>,

    /// Seeing inside (`-D help`).
    #[arg(short = 'D', long = "debug", value_name = "KEY[=VALUE][,…]")]
    pub debug: Vec<String>,

    /// What the system offers the program (`-S help`).
    #[arg(short = 'S', long = "wasi", value_name = "KEY[=VALUE][,…]")]
    pub system: Vec<String>,
}

impl EngineArgs {
    fn lists(&self) -> impl Iterator<Item = (Group, &String)> {
        (self.wasm.iter().map(|list| (Group::Wasm, list)))
            .chain(self.optimize.iter().map(|list| (Group::Optimize, list)))
            .chain(self.codegen.iter().map(|list| (Group::Codegen, list)))
            .chain(self.debug.iter().map(|list| (Group::Debug, list)))
            .chain(self.system.iter().map(|list| (Group::System, list)))
    }

    /// The explanations that were asked for instead of an action.
    pub fn help(&self) -> Option<String> {
        let mut groups: Vec<Group> = self
            .lists()
            .filter(|(_, list)| options::asks_for_help(list))
            .map(|(group, _)| group)
            .collect();
        groups.dedup();
        let texts: Vec<String> = groups.into_iter().map(options::help).collect();
        (!texts.is_empty()).then(|| texts.join("\n"))
    }

    /// What the options choose.
    ///
    /// # Errors
    ///
    /// A text for the user.
    pub fn choices(&self) -> Result<Choices, String> {
        let mut choices = Choices::default();
        for (group, list) in self.lists() {
            options::apply(&mut choices, group, list)?;
        }
        Ok(choices)
    }
}

/// `wardian run`
#[derive(Args, Debug)]
#[command(
    override_usage = "wardian [run] [OPTIONS] FILE [ARGUMENT]…",
    after_help = "\
Examples:
  wardian run --dir . tool.wasm in.txt         the current directory, under its own name
  wardian run --dir /data::/in::ro tool.wasm   /data as /in, for reading only
  wardian run --env HOME --env LANG=C tool.wasm
  wardian run --invoke add math.wat 1 2
  perf record -g wardian run --profile perfmap tool.wasm   then `perf report`
  gdb --args wardian run -D debug-info tool.wasm           then `break NAME`, `run`

Exit code: the program's own; 134 after a trap, 1 after another error, 2 for a mistake in the
command line."
)]
pub struct RunArgs {
    /// Options of the engine.
    #[command(flatten)]
    pub engine: EngineArgs,

    /// Give the program a directory, as GUEST (HOST if not given), for reading only with `::ro`.
    #[arg(long = "dir", value_name = "HOST[::GUEST[::ro]]")]
    pub dirs: Vec<Dir>,

    /// Give the program an environment variable, with this value or with its value here.
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    pub env: Vec<Variable>,

    /// Call this exported function, with the program's arguments, and print its results.
    #[arg(long, value_name = "FUNCTION")]
    pub invoke: Option<String>,

    /// The program's name as it sees it, instead of FILE.
    #[arg(long, value_name = "NAME")]
    pub argv0: Option<String>,

    /// Instantiate a module first, whose exports can be imported from NAME.
    #[arg(long = "preload", value_name = "NAME=FILE")]
    pub preloads: Vec<Preload>,

    /// Accept a program made by `wardian compile`.
    #[arg(long)]
    pub allow_precompiled: bool,

    /// Say at the end what compilers and cache did, on standard error.
    #[arg(long)]
    pub stats: bool,

    /// Tell the profiler `perf` what functions lie where, in a file of this kind.
    #[arg(long, value_name = "KIND", value_enum)]
    pub profile: Option<Profile>,

    /// The program (binary or text), then its arguments.
    #[arg(value_name = "FILE", required = true, trailing_var_arg = true)]
    pub program: Vec<OsString>,
}

/// Files that `perf` reads.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// Names and addresses, in `/tmp/perf-PID.map`.
    #[value(name = "perfmap")]
    PerfMap,
    /// Names, addresses and code, in `jit-PID.dump`.
    #[value(name = "jitdump")]
    JitDump,
}

/// `wardian compile`
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  wardian compile -O opt-level=s app.wasm -o app.cwasm

Run it with the same -W, -O and -C options that it was compiled with.")]
pub struct CompileArgs {
    /// Options of the engine.
    #[command(flatten)]
    pub engine: EngineArgs,

    /// The module (binary or text).
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Where the result goes [default: FILE with the extension `cwasm`].
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `wardian wast`
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  wardian wast -W all-proposals=y tests/*.wast

The last line counts what passed and failed; exit code 1 if anything failed.")]
pub struct WastArgs {
    /// Options of the engine.
    #[command(flatten)]
    pub engine: EngineArgs,

    /// Failures that are known, a line each: `file.wast:LINE reason`.
    #[arg(long, value_name = "FILE")]
    pub expected_failures: Option<PathBuf>,

    /// The scripts.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// `wardian inspect`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  wardian inspect app.wasm
  wardian inspect --json app.wasm | jq '.imports[].module'")]
pub struct InspectArgs {
    /// The module (binary or text).
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `wardian explore`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  wardian explore app.wasm                        makes app.html
  wardian explore app.wasm --function main -o -   one function, to standard output

The page needs nothing else and can be kept or passed on. Lines that stem from one instruction
have one colour; those under the pointer, or clicked, are marked in every column. Code without
colour stems from no single instruction. Of a large module it shows the first functions, or those
that are named.")]
pub struct ExploreArgs {
    /// Options of the engine.
    #[command(flatten)]
    pub engine: EngineArgs,

    /// The module (binary or text).
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Where the page goes, `-` for standard output [default: FILE with the extension `html`].
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Show this function; can be given again.
    #[arg(short, long = "function", value_name = "NAME|INDEX")]
    pub functions: Vec<String>,
}

/// `wardian objdump`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  wardian objdump app.cwasm                            what `wardian compile` made
  wardian objdump app.wasm --filter main --addrmap     what it would make, for some functions
  wardian objdump app.cwasm --addresses --bytes

An artifact is shown if it is authentic: made with this user's key, and with the same -W, -O and -C
options. Nothing of it is run.")]
pub struct ObjdumpArgs {
    /// Options of the engine.
    #[command(flatten)]
    pub engine: EngineArgs,

    /// The artifact or module (binary or text).
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Show only functions whose title contains this: `wasm[0]::function[3]::name`.
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,

    /// Which functions.
    #[arg(long, value_name = "KIND", value_enum, default_value = "wasm")]
    pub funcs: FunctionKind,

    /// Show addresses, counted from the start of the code.
    #[arg(long)]
    pub addresses: bool,

    /// Show the bytes of instructions.
    #[arg(long)]
    pub bytes: bool,

    /// Show which instructions can trap, and how.
    #[arg(long, value_name = "true|false", require_equals = true, num_args = 0..=1,
          default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub traps: bool,

    /// Show which instruction of the module code stems from, by its offset there.
    #[arg(long, alias = "address-map", value_name = "true|false", require_equals = true, num_args = 0..=1,
          default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub addrmap: bool,

    /// Show an artifact also if it is not authentic. Its code need not be that of its module.
    #[arg(long)]
    pub vouched: bool,
}

/// Functions of a module's code.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum FunctionKind {
    /// Those of the module; there are no others.
    #[value(alias = "all")]
    Wasm,
    /// Those that it exports.
    Exported,
}

/// `wardian cache`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  wardian cache                              where it is and how full
  wardian cache clear                        remove all entries
  wardian cache -C cache-dir=/tmp/code       the same of another folder
  wardian run -C cache=n app.wasm            run without it

`wardian run` keeps optimized code there, and finds it when it runs the same file again with the
same options. A folder or file that another user can write is not used.")]
pub struct CacheArgs {
    /// Options of the engine.
    #[command(flatten)]
    pub engine: EngineArgs,

    /// What to do with it, instead of showing it.
    #[arg(value_name = "ACTION", value_enum)]
    pub action: Option<CacheAction>,

    /// The same as `clear`.
    #[arg(long, conflicts_with = "action")]
    pub clear: bool,
}

/// What can be done with the cache.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum CacheAction {
    /// Remove all entries.
    Clear,
}

/// `wardian settings`
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  wardian settings -W simd=n,relaxed-simd=n --json")]
pub struct SettingsArgs {
    /// Options of the engine.
    #[command(flatten)]
    pub engine: EngineArgs,

    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `wardian completion`
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  wardian completion bash > ~/.local/share/bash-completion/completions/wardian")]
pub struct CompletionArgs {
    /// The shell.
    pub shell: clap_complete::Shell,
}

/// `wardian man`
#[derive(Args, Debug)]
pub struct ManArgs {
    /// The command it is about [default: `wardian` itself].
    pub command: Option<String>,
}

/// A directory for the program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dir {
    /// Where it is.
    pub host: PathBuf,
    /// Its name for the program.
    pub guest: String,
    /// Whether the program may only read in it.
    pub read_only: bool,
}

impl FromStr for Dir {
    type Err = String;

    fn from_str(text: &str) -> Result<Dir, String> {
        let parts: Vec<&str> = text.split("::").collect();
        let (host, guest, read_only) = match parts[..] {
            [host] => (host, host, false),
            [host, guest] => (host, guest, false),
            [host, guest, "ro"] => (host, guest, true),
            _ => return Err("expected HOST, HOST::GUEST or HOST::GUEST::ro".into()),
        };
        if host.is_empty() || guest.is_empty() {
            return Err("a directory's name is empty".into());
        }
        Ok(Dir { host: host.into(), guest: guest.into(), read_only })
    }
}

/// An environment variable for the program; without value, it has the one it has here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value, if one was given.
    pub value: Option<String>,
}

impl FromStr for Variable {
    type Err = String;

    fn from_str(text: &str) -> Result<Variable, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.into())),
            None => (text, None),
        };
        if name.is_empty() {
            return Err("the variable's name is empty".into());
        }
        Ok(Variable { name: name.into(), value })
    }
}

/// A module to instantiate before the program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Preload {
    /// What it is imported as.
    pub name: String,
    /// Where it is.
    pub file: PathBuf,
}

impl FromStr for Preload {
    type Err = String;

    fn from_str(text: &str) -> Result<Preload, String> {
        let (name, file) = text.split_once('=').ok_or("expected NAME=FILE")?;
        if file.is_empty() {
            return Err("expected a file after `=`".into());
        }
        Ok(Preload { name: name.into(), file: file.into() })
    }
}

/// Parses a command line, its first word being the program's name. `run` is put in where no command
/// is named. Prints help, version or a mistake and ends the process where that is due.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Cli {
    let args = with_default_command(args);
    if let Some(args) = only_run(&args) {
        return Cli { command: Command::Run(args) };
    }
    Cli::try_parse_from(&args).unwrap_or_else(|error| {
        // `wardian -W help` needs no file.
        if error.kind() == clap::error::ErrorKind::MissingRequiredArgument
            && let Some(text) = option_help(&args)
        {
            // A reader that has gone away has read enough.
            let _ = crate::print(text);
            std::process::exit(0);
        }
        error.exit()
    })
}

/// What `run` is given, if that is the command and there is no mistake. To set up the options of all commands
/// would take as long as to compile a small program.
fn only_run(args: &[OsString]) -> Option<RunArgs> {
    let [program, command, rest @ ..] = args else { return None };
    let options = RunArgs::augment_args(clap::Command::new("wardian"));
    let found = (command == "run")
        .then(|| options.try_get_matches_from(std::iter::once(program).chain(rest)))?;
    RunArgs::from_arg_matches(&found.ok()?).ok()
}

/// The explanation that an incomplete command line asks for, if it does.
fn option_help(args: &[OsString]) -> Option<String> {
    let groups = [
        (Group::Wasm, ["-W", "--wasm"]),
        (Group::Optimize, ["-O", "--optimize"]),
        (Group::Codegen, ["-C", "--codegen"]),
        (Group::Debug, ["-D", "--debug"]),
        (Group::System, ["-S", "--wasi"]),
    ];
    let pair = args.windows(2).find(|pair| pair[1] == "help")?;
    let (group, _) = groups.iter().find(|(_, flags)| flags.iter().any(|flag| pair[0] == **flag))?;
    Some(options::help(*group))
}

fn with_default_command(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let Some(first) = args.get(1) else { return args };
    let known = matches!(first.to_str(), Some("help" | "-h" | "--help" | "-V" | "--version"))
        || first.to_str().is_some_and(Command::has_subcommand);
    if !known {
        args.insert(1, "run".into());
    }
    args
}

fn long_version() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(version_text);
    &TEXT
}

fn version_text() -> String {
    let list = |built: bool| {
        let all = wardian::Proposal::ALL.iter();
        let names: Vec<_> = all.filter(|p| p.built() == built).map(|p| p.flag()).collect();
        names.join(", ")
    };
    format!(
        "{}\nproposals: {}\nnot in this version: {}\ncompilers: {}\nhosts: WASI preview 1\n\
         built for: {}-{}",
        env!("CARGO_PKG_VERSION"),
        list(true),
        list(false),
        if cfg!(feature = "cranelift") { "baseline, cranelift" } else { "none" },
        std::env::consts::ARCH,
        std::env::consts::OS
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn parse(line: &str) -> Result<Command, String> {
        let args = std::iter::once("wardian").chain(line.split(' ')).map(OsString::from);
        let args = with_default_command(args);
        let cli = Cli::try_parse_from(&args).map_err(|error| error.to_string());
        let run = match &cli {
            Ok(Cli { command: Command::Run(args) }) => Some(args),
            _ => None,
        };
        assert_eq!(format!("{:?}", only_run(&args).as_ref()), format!("{run:?}"), "{line}");
        cli.map(|cli| cli.command)
    }

    fn run(line: &str) -> RunArgs {
        match parse(line).unwrap() {
            Command::Run(args) => args,
            other => panic!("expected `run`, found {other:?}"),
        }
    }

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn all_after_the_file_goes_to_the_program() {
        let args = run("python.wasm -c print(1) --dir x -- -W help --help");
        assert_eq!(
            args.program,
            ["python.wasm", "-c", "print(1)", "--dir", "x", "--", "-W", "help", "--help"]
        );
        assert!(args.dirs.is_empty() && args.engine.help().is_none());
        let args = run("--dir .::/ run.wasm -5");
        assert_eq!(args.program, ["run.wasm", "-5"]);
        assert_eq!(run("--profile jitdump x.wasm").profile, Some(Profile::JitDump));
        assert!(parse("--profile vtune x.wasm").is_err());
        assert!(parse("--no-such-option x.wasm").is_err());
        assert!(parse("run").is_err() && parse("run --help").is_err());
        assert!(
            parse("help").is_err() && parse("--version").is_err() && parse("help run").is_err()
        );
    }

    #[test]
    fn command_lines_of_the_benchmarks() {
        let args = run(
            "run -W all-proposals=y,unknown-imports-trap=y --allow-precompiled --dir /d::/ x.cwasm a b",
        );
        assert!(args.allow_precompiled);
        assert!(args.engine.choices().unwrap().unknown_imports_trap);
        let args = run("run -C cache=n -W all-proposals=y,unknown-imports-trap=y x.wasm");
        assert_eq!(args.engine.choices().unwrap().cache, Some(false));
        match parse("compile -W all-proposals=y in.wasm -o out.cwasm").unwrap() {
            Command::Compile(args) => assert_eq!(args.output, Some("out.cwasm".into())),
            other => panic!("expected `compile`, found {other:?}"),
        }
    }

    fn engine_of(command: &Command) -> Option<&EngineArgs> {
        match command {
            Command::Run(args) => Some(&args.engine),
            Command::Compile(args) => Some(&args.engine),
            Command::Wast(args) => Some(&args.engine),
            Command::Explore(args) => Some(&args.engine),
            Command::Objdump(args) => Some(&args.engine),
            Command::Cache(args) => Some(&args.engine),
            Command::Settings(args) => Some(&args.engine),
            Command::Inspect(_) | Command::Completion(_) | Command::Man(_) => None,
        }
    }

    /// Every command line in the README and in the book, as far as it is one of ours.
    #[test]
    fn command_lines_of_the_documents() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let chapters = std::fs::read_dir(format!("{root}/docs")).unwrap();
        let chapters = chapters.map(|entry| entry.unwrap().path());
        let mut count = 0;
        for path in chapters.chain([PathBuf::from(format!("{root}/README.md"))]) {
            if path.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            // Every second piece between fences is a block; its first line names a language.
            for block in text.split("```").skip(1).step_by(2) {
                let (language, lines) = block.split_once('\n').unwrap();
                if !["sh", "text", "console"].contains(&language) {
                    continue;
                }
                for line in lines.lines() {
                    let line = line.strip_prefix("$ ").unwrap_or(line);
                    let start = ["wardian ", "gdb --args wardian ", "perf record -g wardian "];
                    let Some(line) = start.iter().find_map(|start| line.strip_prefix(start)) else {
                        continue;
                    };
                    // What stands apart explains the line.
                    let line = line.split("   ").next().unwrap_or_default().trim();
                    println!("{line}");
                    if line != "--help" {
                        let command = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
                        if let Some(engine) = engine_of(&command) {
                            engine.choices().unwrap_or_else(|error| panic!("{line}: {error}"));
                        }
                    }
                    count += 1;
                }
            }
        }
        assert!(count > 30, "{count} command lines were found");
    }

    #[test]
    fn values() {
        let dir = |host: &str, guest: &str, read_only| {
            Ok(Dir { host: host.into(), guest: guest.into(), read_only })
        };
        assert_eq!(".".parse::<Dir>(), dir(".", ".", false));
        assert_eq!("/a::/".parse::<Dir>(), dir("/a", "/", false));
        assert_eq!("/a::/b::ro".parse::<Dir>(), dir("/a", "/b", true));
        assert!("/a::/b::rx".parse::<Dir>().is_err());
        assert!("::/b".parse::<Dir>().is_err());
        let variable: Variable = "A=b=c".parse().unwrap();
        assert_eq!((variable.name.as_str(), variable.value.as_deref()), ("A", Some("b=c")));
        assert_eq!("A".parse::<Variable>().unwrap().value, None);
        assert!("=b".parse::<Variable>().is_err());
        assert_eq!("env=a=b.wasm".parse::<Preload>().unwrap().file, PathBuf::from("a=b.wasm"));
        assert!("env".parse::<Preload>().is_err());
    }

    #[test]
    fn help_of_options_and_version() {
        let help = run("-W help x.wasm").engine.help().unwrap();
        assert!(help.contains("-W simd=y|n"), "{help}");
        let line = ["wardian", "run", "-O", "help"].map(OsString::from);
        assert!(option_help(&line).unwrap().contains("opt-level"));
        assert_eq!(option_help(&line[..3]), None);
        assert!(long_version().contains("tail-call"));
    }
}

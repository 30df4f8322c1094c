//! A Python script in a pod that goes on line by line, so that a test may look in between.

use anyhow::{Context, Result, ensure};
use mesh_tests::world::Pod;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

/// `say(…)` prints a line and waits until the test lets it go on; `attempt(f)` calls and gives `ok` or the errno's name.
const PRELUDE: &str = "
import errno, os, socket, sys
def say(*words):
    print(*words, flush=True)
    sys.stdin.readline()
def attempt(call, *arguments):
    try:
        call(*arguments)
        return 'ok'
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
";

/// A running script; killed when dropped.
pub struct Script {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Script {
    /// Starts it.
    pub fn start(pod: &Pod, source: &str) -> Result<Self> {
        let mut command = pod.command("python3")?;
        command.arg("-c").arg(format!("{PRELUDE}\n{source}")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("run python3")?;
        let input = child.stdin.take().context("the input is a pipe")?;
        let output = BufReader::new(child.stdout.take().context("the output is a pipe")?);
        Ok(Self { child, input, output })
    }

    /// Waits for the next line, and checks it.
    pub fn expect(&mut self, line: &str) -> Result<()> {
        let said = self.line()?;
        ensure!(said == line, "the script said {said:?} where {line:?} was expected");
        Ok(())
    }

    /// Waits for the next line.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line).context("read what the script says")?;
        ensure!(line.ends_with('\n'), "the script has ended: {line:?}");
        Ok(line.trim_end().to_owned())
    }

    /// Lets it go on.
    pub fn go_on(&mut self) -> Result<()> {
        self.input.write_all(b"\n").context("let the script go on")
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

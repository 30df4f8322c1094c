//! The programs in an object, with their types and sizes.

use anyhow::Result;
use object::build::elf::Builder;
use object::elf::{SHF_EXECINSTR, STT_FUNC};
use std::fmt::Write;

/// Bytes of one instruction; a 64-bit constant takes two.
const INSTRUCTION: u64 = 8;

/// A line per program, then the functions that they share, then the whole.
pub fn table(object: &[u8]) -> Result<String> {
    let elf = Builder::read(object)?;
    let mut rows = Vec::new();
    for symbol in elf.symbols.iter().filter(|symbol| symbol.st_type() == STT_FUNC) {
        let Some(section) = symbol.section.map(|id| elf.sections.get(id)) else { continue };
        if section.sh_flags & u64::from(SHF_EXECINSTR) != 0 {
            let section = String::from_utf8_lossy(section.name.as_slice());
            let name = format!("{:#}", rustc_demangle::demangle(&String::from_utf8_lossy(symbol.name.as_slice())));
            rows.push((section == SHARED, kind(&section), name, symbol.st_size));
        }
    }
    rows.sort();
    let mut text = format!("{:<24} {:<30} {:>8} {:>13}\n", "PROGRAM", "TYPE", "BYTES", "INSTRUCTIONS");
    for (_, kind, name, size) in &rows {
        writeln!(text, "{name:<24} {kind:<30} {size:>8} {:>13}", size / INSTRUCTION)?;
    }
    let programs = rows.iter().filter(|(shared, ..)| !shared).count();
    let size: u64 = rows.iter().map(|(.., size)| size).sum();
    writeln!(text, "{programs} programs, {} instructions, {} bytes of object", size / INSTRUCTION, object.len())?;
    Ok(text)
}

/// The section of what programs call: loaded with each program that does.
const SHARED: &str = ".text";

/// The program's type, and where it attaches, from the name of its section.
fn kind(section: &str) -> String {
    match section.split_once('/') {
        Some(("cgroup", hook)) if hook.starts_with("sock_") || hook.starts_with("post_bind") => {
            format!("cgroup_sock/{hook}")
        }
        Some(("cgroup", hook)) if hook.ends_with("sockopt") => format!("cgroup_sockopt/{hook}"),
        Some(("cgroup", hook)) => format!("cgroup_sock_addr/{hook}"),
        Some(("iter", target)) => format!("iter/{target}"),
        None if section == "sockops" => "sock_ops".to_owned(),
        None if section == SHARED => "function".to_owned(),
        _ => section.to_owned(),
    }
}

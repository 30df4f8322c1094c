//! The object without what the kernel does not read: DWARF goes, BTF stays.

use anyhow::{Result, ensure};
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;

/// The same object without its `.debug_*` sections, their relocations and their symbols. The same bytes in give the same
/// bytes out.
pub fn strip(linked: &[u8]) -> Result<Vec<u8>> {
    let mut elf = Builder::read(linked)?;
    for wanted in [".BTF", ".BTF.ext"] {
        ensure!(elf.sections.iter().any(|section| section.name.as_slice() == wanted.as_bytes()), "no {wanted}");
    }
    for section in &mut elf.sections {
        let name = section.name.as_slice();
        // REL sections of BTF repeat what stands in the data: loaders do not read them.
        section.delete =
            name.starts_with(b".debug_") || name.starts_with(b".rel.debug_") || name.starts_with(b".rel.BTF");
    }
    // LLVM keeps the names of sections and of symbols in one table; this writer wants two.
    let names = elf.sections.add();
    names.name = b".shstrtab"[..].into();
    names.sh_type = SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;
    elf.delete_orphans();
    let mut stripped = Vec::new();
    elf.write(&mut stripped)?;
    Ok(stripped)
}

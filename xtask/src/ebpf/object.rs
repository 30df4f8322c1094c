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
    if !elf.sections.iter().any(|section| matches!(section.data, SectionData::SectionString)) {
        let names = elf.sections.add();
        names.name = b".shstrtab"[..].into();
        names.sh_type = SHT_STRTAB;
        names.sh_addralign = 1;
        names.data = SectionData::SectionString;
    }
    elf.delete_orphans();
    let mut stripped = Vec::new();
    elf.write(&mut stripped)?;
    Ok(stripped)
}

#[cfg(test)]
mod tests {
    use super::strip;
    use crate::{ebpf, workspace};
    use object::build::elf::{Builder, SectionData};
    use object::elf::SHT_PROGBITS;

    fn committed() -> Vec<u8> {
        std::fs::read(workspace::root().join(ebpf::COMMITTED)).unwrap()
    }

    /// With DWARF in it, as it comes from the linker.
    fn linked() -> Vec<u8> {
        let committed = committed();
        let mut elf = Builder::read(committed.as_slice()).unwrap();
        for name in [".debug_info", ".debug_line"] {
            let section = elf.sections.add();
            section.name = name.as_bytes().into();
            section.sh_type = SHT_PROGBITS;
            section.sh_addralign = 1;
            section.data = SectionData::Data(vec![0xdd; 4096].into());
        }
        let mut bytes = Vec::new();
        elf.write(&mut bytes).unwrap();
        bytes
    }

    fn sections(object: &[u8]) -> Vec<String> {
        let elf = Builder::read(object).unwrap();
        elf.sections.iter().map(|section| section.name.to_string()).collect()
    }

    #[test]
    fn dwarf_goes_and_everything_else_stays() {
        let linked = linked();
        assert!(sections(&linked).contains(&".debug_info".to_owned()));
        let stripped = strip(&linked).unwrap();
        assert_eq!(sections(&stripped), sections(&committed()));
        assert_eq!(stripped, committed());
    }

    #[test]
    fn an_object_without_btf_is_refused() {
        let committed = committed();
        let mut elf = Builder::read(committed.as_slice()).unwrap();
        elf.sections.iter_mut().filter(|section| section.name.as_slice() == b".BTF").for_each(|btf| btf.delete = true);
        let mut without = Vec::new();
        elf.write(&mut without).unwrap();
        assert!(strip(&without).unwrap_err().to_string().contains(".BTF"));
    }
}

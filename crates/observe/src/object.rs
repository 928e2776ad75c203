//! Functions in memory as an ELF object: symbols, and how to unwind their frames.
//!
//! The object holds no code: its section `.text` only says where the code lies. Addresses are those of the
//! process, the object's own included, so nothing needs to be relocated.
//!
//! Invariant: functions come in the order of their addresses and do not overlap.

use crate::Named;
use gimli::write::{
    Address, CallFrameInstruction, CommonInformationEntry, EhFrame, EndianVec,
    FrameDescriptionEntry, FrameTable,
};
use gimli::{Encoding, Format, LittleEndian, X86_64};
use object::write::elf::{FileHeader, SectionHeader, Sym, Writer};
use object::{Endianness, elf};

/// Bytes of a section header before the section's address.
const ADDRESS_IN_HEADER: u64 = 16;

/// The object of these functions.
pub(crate) fn of_functions(funcs: &[Named<'_>]) -> Result<Box<[u8]>, String> {
    let frames = frames(funcs).map_err(|error| error.to_string())?;
    let start = funcs.first().map_or(0, |func| func.address as u64);
    let end = funcs.last().map_or(0, |func| (func.address + func.bytes.len()) as u64);

    let mut object = Vec::new();
    let mut out = Writer::new(Endianness::Little, true, &mut object);
    out.reserve_file_header();
    let text_name = out.add_section_name(b".text");
    let text = out.reserve_section_index();
    let frames_name = out.add_section_name(b".eh_frame");
    let frames_index = out.reserve_section_index();
    out.reserve_symtab_section_index();
    out.reserve_strtab_section_index();
    out.reserve_shstrtab_section_index();
    out.reserve_null_symbol_index();
    let mut names = Vec::with_capacity(funcs.len());
    for func in funcs {
        names.push(out.add_string(func.name.as_bytes()));
        out.reserve_symbol_index(Some(text));
    }
    let frames_offset = out.reserve(frames.len() as u64, 8);
    out.reserve_symtab();
    out.reserve_strtab().map_err(|error| error.to_string())?;
    out.reserve_shstrtab().map_err(|error| error.to_string())?;
    out.reserve_section_headers();

    let header = FileHeader {
        os_abi: elf::ELFOSABI_NONE,
        abi_version: 0,
        e_type: elf::ET_EXEC,
        e_machine: elf::EM_X86_64,
        e_entry: 0,
        e_flags: elf::FileFlags::default(),
    };
    out.write_file_header(&header).map_err(|error| error.to_string())?;
    out.write_align(8);
    out.write(&frames);
    out.write_null_symbol();
    for (func, name) in funcs.iter().zip(names) {
        let symbol = Sym {
            section: Some(text.0),
            st_name: out.string_offset(Some(name)),
            st_info: elf::SymbolInfo::new(elf::STB_GLOBAL, elf::STT_FUNC),
            st_other: elf::SymbolOther::default(),
            st_shndx: elf::SymbolSection::default(),
            st_value: func.address as u64,
            st_size: func.bytes.len() as u64,
        };
        out.write_symbol(&symbol);
    }
    out.write_strtab();
    out.write_shstrtab();
    let headers = out.write_null_section_header();
    let section = |out: &Writer<'_>, name, kind, flags: elf::SectionFlags| SectionHeader {
        sh_name: out.section_name_offset(Some(name)),
        sh_type: kind,
        sh_flags: flags,
        sh_addr: 0,
        sh_offset: frames_offset,
        sh_size: 0,
        sh_link: 0,
        sh_info: 0,
        sh_addralign: 8,
        sh_entsize: 0,
    };
    let executable = elf::SHF_ALLOC | elf::SHF_EXECINSTR;
    let mut header = section(&out, text_name, elf::SHT_NOBITS, executable);
    (header.sh_addr, header.sh_size) = (start, end - start);
    out.write_section_header(&header);
    let mut header = section(&out, frames_name, elf::SHT_PROGBITS, elf::SHF_ALLOC);
    header.sh_size = frames.len() as u64;
    out.write_section_header(&header);
    out.write_symtab_section_header(1);
    out.write_strtab_section_header();
    out.write_shstrtab_section_header();

    // Frame information lies where the object does.
    let mut object = object.into_boxed_slice();
    let address = object.as_ptr() as u64 + frames_offset;
    let place = headers + u64::from(frames_index.0) * 64 + ADDRESS_IN_HEADER;
    object[place as usize..][..8].copy_from_slice(&address.to_le_bytes());
    Ok(object)
}

/// Frame information: all functions keep a chain of frame pointers.
fn frames(funcs: &[Named<'_>]) -> gimli::write::Result<Vec<u8>> {
    let encoding = Encoding { address_size: 8, format: Format::Dwarf32, version: 1 };
    let mut common = CommonInformationEntry::new(encoding, 1, -8, X86_64::RA);
    common.add_instruction(CallFrameInstruction::Cfa(X86_64::RSP, 8));
    common.add_instruction(CallFrameInstruction::Offset(X86_64::RA, -8));
    let mut table = FrameTable::default();
    let common = table.add_cie(common);
    for func in funcs {
        let address = Address::Constant(func.address as u64);
        let mut frame = FrameDescriptionEntry::new(address, func.bytes.len() as u32);
        // Other code than this prologue has its frame from its first instruction on.
        let (pushed, set) = if has_prologue(func.bytes) { (1, 4) } else { (0, 0) };
        frame.add_instruction(pushed, CallFrameInstruction::CfaOffset(16));
        frame.add_instruction(pushed, CallFrameInstruction::Offset(X86_64::RBP, -16));
        frame.add_instruction(set, CallFrameInstruction::CfaRegister(X86_64::RBP));
        table.add_fde(common, frame);
    }
    let mut section = EhFrame::from(EndianVec::new(LittleEndian));
    table.write_eh_frame(&mut section)?;
    let mut bytes = section.0.into_vec();
    // A length of zero ends the section.
    bytes.extend([0; 4]);
    Ok(bytes)
}

/// Whether code begins with `push rbp; mov rbp, rsp`, in either encoding.
fn has_prologue(bytes: &[u8]) -> bool {
    matches!(bytes, [0x55, 0x48, 0x89, 0xe5, ..] | [0x55, 0x48, 0x8b, 0xec, ..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use gimli::{BaseAddresses, EhFrame, RegisterRule, UnwindContext, UnwindSection};
    use object::read::elf::{ElfFile64, FileHeader as _};
    use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

    #[test]
    fn symbols_and_frames_are_those_of_the_functions() {
        let funcs = [
            Named { name: "fib", address: 0x7000, bytes: &[0x55, 0x48, 0x8b, 0xec, 0xc3] },
            Named { name: "fib", address: 0x7010, bytes: &[0x55, 0x48, 0x89, 0xe5, 0xc3] },
            Named { name: "no frame yet", address: 0x8000, bytes: &[0x90, 0xc3] },
        ];
        let bytes = of_functions(&funcs).unwrap();
        assert!(elf::FileHeader64::<Endianness>::parse(&*bytes).is_ok());
        let file = ElfFile64::<Endianness>::parse(&*bytes).unwrap();
        let symbols: Vec<_> = file
            .symbols()
            .map(|s| (s.name().unwrap().to_string(), s.address(), s.size()))
            .collect();
        let expected = funcs.map(|f| (f.name.to_string(), f.address as u64, f.bytes.len() as u64));
        assert_eq!(symbols, expected);
        let text = file.section_by_name(".text").unwrap();
        assert_eq!((text.address(), text.size()), (0x7000, 0x1002));

        let frames = file.section_by_name(".eh_frame").unwrap();
        let data = frames.data().unwrap();
        assert_eq!(frames.address(), data.as_ptr() as u64, "it lies where it says");
        let frames = EhFrame::new(data, LittleEndian);
        let rules = |address| {
            let (bases, mut context) = (BaseAddresses::default(), UnwindContext::new());
            let row = frames.unwind_info_for_address(
                &bases,
                &mut context,
                address,
                EhFrame::cie_from_offset,
            );
            row.ok().map(|row| (format!("{:?}", row.cfa()), row.register(X86_64::RBP)))
        };
        let cfa = |register: gimli::Register, offset: i64| {
            format!("{:?}", gimli::CfaRule::<usize>::RegisterAndOffset { register, offset })
        };
        let kept = Some(RegisterRule::Offset(-16));
        assert_eq!(rules(0x7000), Some((cfa(X86_64::RSP, 8), None)));
        assert_eq!(rules(0x7001), Some((cfa(X86_64::RSP, 16), kept.clone())));
        for address in [0x7004, 0x7014, 0x8000, 0x8001] {
            assert_eq!(rules(address), Some((cfa(X86_64::RBP, 16), kept.clone())), "{address:x}");
        }
        assert_eq!(rules(0x7005), None, "behind the function");
        assert_eq!(rules(0x6fff), None);
    }
}

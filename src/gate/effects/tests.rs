use super::*;

#[test]
fn the_table_that_is_shipped_has_no_fault_and_is_the_directory() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/effects");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".toml"))
        .map(|name| format!("policies/effects/{name}"))
        .collect();
    names.sort();
    let shipped: Vec<&str> = shipped::FILES.iter().map(|(name, _)| *name).collect();
    assert_eq!(shipped, names, "list each file in shipped.rs, sorted");
    if let Err(faults) = Table::parse(shipped::FILES) {
        panic!("{}", faults.iter().map(|fault| format!("{fault} {:?}\n", fault.hint)).collect::<String>());
    }
    assert!(Table::built_in().knows("sudo"));
}

//! The `doorward` program.

fn main() -> std::process::ExitCode {
    doorward::cli::main()
}

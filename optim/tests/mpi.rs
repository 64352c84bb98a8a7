//! Training on processes that MPI connects: this program starts `mpirun`, which starts this program again. With Open MPI as with
//! MPICH; more processes than processors are no matter here.
//!
//! `cargo test -p cairn-optim --features mpi --test mpi`

#[path = "laws/networks.rs"]
mod networks;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs, thread};

use cairn_optim::processes::{Alone, world};
use cairn_optim::{Batch, Callback, Control, CsvLog, Epoch, Error, Result};
use cairn_tensor::Tensor;

use networks::{Net, train, train_in_steps_of};

/// What tells the program, started again, what it is to do, and where.
const CASE: &str = "CAIRN_MPI_CASE";
const FOLDER: &str = "CAIRN_MPI_FOLDER";

/// From the fault of one process to the end of all; far from what it takes, for a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// What happens to rank 1, or to rank 0 as the disk is full, after the sixth batch; where the whole run is stopped, to all.
struct Fault<'a> {
    kind: &'a str,
    rank: usize,
    folder: &'a Path,
    seen: usize,
    /// On a device that is full, as far as there is one.
    log: CsvLog,
}

impl Callback for Fault<'_> {
    fn on_epoch(&mut self, epoch: &Epoch, control: &mut Control<'_>) -> Result<()> {
        if self.kind != "full" {
            return Ok(());
        }
        fs::write(self.folder.join("fault"), self.kind).unwrap();
        self.log.on_epoch(epoch, control)
    }

    fn on_batch(&mut self, _: &Batch, control: &mut Control<'_>) -> Result<()> {
        self.seen += 1;
        if self.kind == "stop" && self.seen == 6 {
            control.stop();
        }
        let at = if self.kind == "disk" { 0 } else { 1 };
        if self.seen != 6 || self.rank != at || matches!(self.kind, "" | "batch" | "leave" | "stop" | "full")
        {
            return Ok(());
        }
        fs::write(self.folder.join("fault"), self.kind).unwrap();
        let own = std::process::id().to_string();
        match self.kind {
            "kill" => {
                Command::new("kill").args(["-9", &own]).status().unwrap();
                thread::sleep(Duration::from_secs(60));
            }
            // Files of at most 10 KB: a checkpoint has more. The signal is ignored, see `mpirun`.
            "disk" => assert!(
                Command::new("prlimit").args(["--pid", &own, "--fsize=10240"]).status().unwrap().success()
            ),
            "nan" => control.model().for_each_parameter(&mut |_, parameter| {
                parameter.set(Tensor::full(parameter.shape(), f32::NAN).unwrap());
            }),
            "panic" => panic!("on purpose"),
            "error" => return Err(Error::BadState("on purpose".into())),
            other => panic!("{other}"),
        }
        Ok(())
    }
}

/// A process of a run; a part of the other tests.
#[test]
fn process() {
    let (Ok(case), Some(folder)) = (env::var(CASE), env::var_os(FOLDER)) else { return };
    let folder = Path::new(&folder);
    let world = world().unwrap();
    let rank = world.rank();
    let (net, kind) = case.split_once(' ').unwrap();
    let (net, batches) =
        net.split_once('*').map_or((net, 4), |(net, batches)| (net, batches.parse().unwrap()));
    let net = match net {
        "mlp" => Net::Mlp,
        "cnn" => Net::Cnn,
        "lstm" => Net::Lstm,
        "gpt" => Net::Gpt,
        other => panic!("{other}"),
    };
    if kind == "leave" && rank == 1 {
        fs::write(folder.join("fault"), kind).unwrap();
        return;
    }
    let mut fault = Fault { kind, rank, folder, seen: 0, log: CsvLog::new("/dev/full") };
    let path = folder.join("run.cairn");
    let odd = kind == "batch" && rank == 1;
    if odd {
        fs::write(folder.join("fault"), kind).unwrap();
    }
    let size = if odd { 4 } else { 5 };
    if let Err(error) = train_in_steps_of(batches, net, &*world, &path, size, &mut fault) {
        fs::write(folder.join(format!("error-{rank}")), error.to_string()).unwrap();
        eprintln!("rank {rank}: {error}");
        drop(world);
        std::process::exit(1);
    }
}

/// Runs the test above on so many processes.
fn mpirun(size: usize, case: &str, folder: &Path) -> Output {
    let version = Command::new("mpirun").arg("--version").output().expect("mpirun can be started");
    let mut command = Command::new("mpirun");
    if String::from_utf8_lossy(&version.stdout).contains("Open MPI") {
        // As root, on fewer processors than processes, in a sandbox, which may forbid to read another process's memory.
        command.args(["--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]);
        command
            .env("OMPI_MCA_btl_vader_single_copy_mechanism", "none")
            .env("OMPI_MCA_mpi_yield_when_idle", "1");
    }
    // The shell ignores the signal of a file that grows too long, and so does the program after it.
    let program = "trap '' XFSZ; exec \"$0\" --exact process --nocapture --test-threads 1";
    command.args(["-n", &size.to_string(), "sh", "-c", program]).arg(env::current_exe().unwrap());
    command.env(CASE, case).env(FOLDER, folder).env("RAYON_NUM_THREADS", "1");
    command.stdin(Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

struct Nothing;
impl Callback for Nothing {}

fn checkpoint_of_one(net: Net) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.cairn");
    train(net, &Alone, &path, 5, &mut Nothing).unwrap();
    fs::read(path).unwrap()
}

#[test]
fn checkpoints_are_the_same_to_the_byte_at_any_number_of_processes() {
    for (net, name) in [(Net::Mlp, "mlp"), (Net::Cnn, "cnn"), (Net::Lstm, "lstm"), (Net::Gpt, "gpt")] {
        let alone = checkpoint_of_one(net);
        for size in if net == Net::Mlp { vec![1, 2, 3, 4] } else { vec![2, 4] } {
            let folder = tempfile::tempdir().unwrap();
            let output = mpirun(size, &format!("{name} "), folder.path());
            assert!(output.status.success(), "{}", text(&output));
            let found = fs::read(folder.path().join("run.cairn")).unwrap();
            assert!(found == alone, "{name} on {size} processes");
        }
    }
}

#[test]
fn eight_processes_on_fewer_processors_train_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("alone.cairn");
    train_in_steps_of(8, Net::Cnn, &Alone, &alone, 5, &mut Nothing).unwrap();
    // The last step of an epoch has two batches, and six processes without any.
    let output = mpirun(8, "cnn*8 ", folder.path());
    assert!(output.status.success(), "{}", text(&output));
    assert!(fs::read(folder.path().join("run.cairn")).unwrap() == fs::read(alone).unwrap());
}

#[test]
fn a_run_that_was_stopped_goes_on_at_another_number_of_processes() {
    for (net, name) in [(Net::Cnn, "cnn"), (Net::Lstm, "lstm")] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.cairn");
        // Stopped in the middle of an epoch, as the step is made; then gone on with to the end.
        for (size, kind) in [(4, "stop"), (2, "stop"), (3, "")] {
            let output = mpirun(size, &format!("{name} {kind}"), folder.path());
            assert!(output.status.success(), "{}", text(&output));
        }
        assert!(fs::read(path).unwrap() == checkpoint_of_one(net), "{name}");
    }
}

/// Runs a case that ends in an error on all; returns the errors of ranks that could say one.
fn fails(size: usize, case: &str, folder: &Path) -> Vec<String> {
    let output = mpirun(size, case, folder);
    let ended = SystemTime::now();
    assert!(!output.status.success(), "{}", text(&output));
    let began = fs::metadata(folder.join("fault")).and_then(|file| file.modified());
    let lasted =
        ended.duration_since(began.unwrap_or_else(|_| panic!("{}", text(&output)))).unwrap_or_default();
    assert!(lasted < SOON, "{lasted:?}: {}", text(&output));
    (0..size).filter_map(|rank| fs::read_to_string(folder.join(format!("error-{rank}"))).ok()).collect()
}

#[test]
fn whatever_happens_to_one_process_all_end_soon_and_the_run_goes_on_later() {
    let alone = checkpoint_of_one(Net::Mlp);
    for (kind, said) in [
        ("nan", Some("rank 1: the loss is NaN in epoch 1, step 9")),
        ("error", Some("rank 1: the state does not fit: on purpose")),
        ("disk", Some("rank 0: ")),
        #[cfg(target_os = "linux")]
        ("full", Some("rank 0: /dev/full: ")),
        ("kill", None),
        ("panic", None),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let errors = fails(3, &format!("mlp {kind}"), folder.path());
        if let Some(said) = said {
            assert_eq!(errors.len(), 3, "{kind}: {errors:?}");
            let own = &said[said.find(": ").unwrap() + 2..];
            for error in &errors {
                assert!(error.starts_with(said) || error.contains(own), "{kind}: {error}");
            }
            assert_eq!(
                errors.iter().filter(|error| error.starts_with(said)).count(),
                2,
                "{kind}: {errors:?}"
            );
        }
        // The checkpoint is that before the fault, and the run goes on from it, on one process.
        let path = folder.path().join("run.cairn");
        let kept = fs::read(&path).unwrap();
        assert!(kept != alone);
        train(Net::Mlp, &Alone, &path, 5, &mut Nothing).unwrap();
        assert!(fs::read(&path).unwrap() == alone, "{kind}");
    }
}

#[test]
fn a_process_that_does_something_else_is_named_by_all() {
    let folder = tempfile::tempdir().unwrap();
    let errors = fails(2, "mlp batch", folder.path());
    assert_eq!(errors.len(), 2);
    for error in errors {
        assert!(error.starts_with("batch_size: 5 on rank 0, 4 on rank 1"), "{error}");
    }
    // And one that is over before it took part.
    let folder = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let errors = fails(3, "mlp leave", folder.path());
    assert_eq!(errors, ["rank 1 has ended", "rank 1 has ended"]);
    assert!(began.elapsed() < 2 * SOON);
}

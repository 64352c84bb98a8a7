//! The callbacks that come with the trainer.

mod checkpoint_average;
mod csv_log;
mod early_stopping;
mod ema;
mod goal;
mod model_checkpoint;
mod plateau;
mod tensorboard;

pub use csv_log::CsvLog;
pub use early_stopping::EarlyStopping;
pub use goal::Goal;
pub use model_checkpoint::ModelCheckpoint;
pub use plateau::ReduceOnPlateau;
pub use tensorboard::TensorBoard;

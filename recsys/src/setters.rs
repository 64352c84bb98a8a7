//! The setters of settings, which differ in name, type and what is said of them alone.

/// For each `name(argument: type);` with its documentation, a builder method that sets the field of that name.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident($argument:ident: $type:ty);)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(mut self, $argument: $type) -> Self {
            self.$name = $argument;
            self
        }
    )*};
}

/// The scale of the ratings, which is the same for all models of them.
macro_rules! rating_scale_setter {
    () => {
        /// The lowest and the highest rating; by default those of the training data.
        #[must_use]
        pub fn rating_scale(mut self, low: f32, high: f32) -> Self {
            self.rating_scale = Some((low, high));
            self
        }
    };
}

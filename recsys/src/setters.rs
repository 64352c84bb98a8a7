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

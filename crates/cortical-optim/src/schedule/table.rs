//! The macro that makes schedules of their table: the enum, its kinds, its reader and its rules.

/// Declares the kinds of schedules: names, fields with types, defaults, remarks and rules, and a check of several
/// fields together.
///
/// In a recipe the field `kind` says which; PyTorch's class names will do as well. Fields that may be left out have
/// PyTorch's defaults.
macro_rules! schedules {
    ($(
        $(#[$vmeta:meta])*
        $first:literal $(| $other:literal)* => $variant:ident $({
            $( $(#[$fmeta:meta])* $field:ident : $type:ty $(= $default:expr)?, $remark:literal $(, $rule:expr)* ; )*
        } $(check = $check:expr;)?)? ,
    )+) => {
        /// How the learning rate follows the step `t = 0, 1, 2 …` from the base learning rate `η`.
        ///
        /// In a recipe `kind` is the variant: `{ kind = "cosine", t_max = 100 }`; PyTorch's class names will do as
        /// well. Fields that may be left out have PyTorch's defaults, but for [`Constant`](Self::Constant), which then
        /// is constant.
        #[derive(Clone, Debug, Default, PartialEq)]
        #[non_exhaustive]
        pub enum Schedule {
            $(
                $(#[$vmeta])*
                $variant $({ $( $(#[$fmeta])* $field: $type, )* })?,
            )+
        }

        /// The fields of each kind as a table of settings.
        mod tables {
            use super::*;
            $(
                cortical_settings::settings! {
                    #[derive(Clone, Debug, PartialEq)]
                    pub(super) struct $variant {
                        $($( pub(super) $field: $type $(= $default)?, $remark $(, $rule)* ; )*)?
                    }
                    $($(check = $check;)?)?
                }
            )+
        }

        impl cortical_settings::OneOf for Schedule {
            const WHAT: &'static str = "schedule";
            const KINDS: &'static [&'static [&'static str]] = &[ $( &[$first $(, $other)*], )+ ];

            fn kind(&self) -> &'static str {
                match self { $( Self::$variant { .. } => $first, )+ }
            }

            fn names_of(kind: &str) -> Vec<&'static str> {
                match kind {
                    $( $first $(| $other)* => <tables::$variant as cortical_settings::Settings>::names().collect(), )+
                    _ => Vec::new(),
                }
            }

            fn read_kind(
                path: &str,
                kind: &str,
                table: &toml::Table,
                base: Option<&Self>,
            ) -> Result<Self, cortical_settings::FieldError> {
                match kind {
                    $( $first $(| $other)* => {
                        let base = match base {
                            Some(Self::$variant $({ $($field),* })?) => {
                                Some(tables::$variant { $($( $field: $field.clone(), )*)? })
                            }
                            _ => None,
                        };
                        let tables::$variant { $($($field),*)? } =
                            cortical_settings::Settings::read(path, table, base.as_ref())?;
                        Ok(Self::$variant $({ $($field),* })?)
                    } )+
                    _ => Err(cortical_settings::unknown_kind::<Self>(path, kind)),
                }
            }

            fn lines_of_kind(&self) -> Vec<cortical_settings::Line> {
                match self {
                    $( Self::$variant $({ $($field),* })? => {
                        let settings = tables::$variant { $($( $field: $field.clone(), )*)? };
                        cortical_settings::Settings::lines(&settings)
                    } )+
                }
            }
        }

        impl Schedule {
            /// The first field whose value makes no sense.
            fn broken(&self) -> Option<cortical_settings::Broken> {
                match self {
                    $( Self::$variant $({ $($field),* })? => {
                        let settings = tables::$variant { $($( $field: $field.clone(), )*)? };
                        cortical_settings::Settings::broken(&settings)
                    } )+
                }
            }
        }
    };
}
pub(super) use schedules;

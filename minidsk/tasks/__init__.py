"""Problems with verifiers."""
